"""Text: what is explained is the embedding's output, one place of the row after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.explain.attribution import again, attribute
from pellucid.explain.fields import Fields

PLACES, WORDS = 6, 20
FIELDS = Fields.single([f"token {place}" for place in range(PLACES)])


class Reader(nn.Module):
    """A transformer encoder over words and places, as in examples/04_text.py."""

    def __init__(self, padding: int | None = None) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 8, padding_idx=padding)
        self.places = nn.Embedding(PLACES, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, ids):
        places = self.places(torch.arange(ids.shape[1]).expand_as(ids))
        return self.head(self.encoder(self.words(ids) + places).mean(1))


class Encoded(Reader):
    """The same for rows of numbers in [-1, 1], as a schema encodes tokens."""

    def forward(self, x):
        return super().forward(((x + 1) / 2 * (WORDS - 1)).round().clamp(0, WORDS - 1).long())


class Bag(nn.Module):
    """The sum over places of a vector a word: words add up exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 4, padding_idx=0)
        self.head = nn.Linear(4, 3)

    def forward(self, ids):
        return self.head(self.words(ids).sum(1))


class Pairs(nn.Module):
    """Looks at each word together with the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, ids):
        return self.head(self.words((ids + ids.roll(1, dims=1)) % WORDS).sum(1))


class Twice(Bag):
    def forward(self, ids):
        return self.head(self.words(ids).sum(1) + self.words(ids.flip(1)).sum(1))


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(1, WORDS, (25, PLACES), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def reader() -> Reader:
    torch.manual_seed(2)
    return Reader()


@pytest.mark.parametrize("method", ["auto", "token_occlusion"])
def test_words_that_add_up_get_what_they_add(method, ids) -> None:
    torch.manual_seed(0)
    model = Bag()
    found = attribute(model, ids, FIELDS, method=method, target=2)
    naive = (model.words(ids) @ model.head.weight[2]).detach().numpy()
    assert found.rows == pytest.approx(naive, abs=1e-5)
    assert found.baseline == "padding in every place"
    assert found.method == ("token_occlusion" if method != "auto" else "layer_integrated_gradients")


def test_layer_integrated_gradients_equal_captum(reader, ids) -> None:
    from captum.attr import LayerIntegratedGradients

    def score(rows):
        found = model(rows)
        return found[:, 1] - found[:, 0]

    model = reader.eval()
    found = attribute(model, ids, FIELDS, baseline=torch.tensor(3), steps=16, tolerance=0.5)
    method = LayerIntegratedGradients(score, model.words)
    peer = method.attribute(ids, baselines=torch.full_like(ids, 3), n_steps=16, method="gausslegendre")
    assert found.rows == pytest.approx(peer.sum(dim=2).detach().numpy(), abs=1e-5)


def test_a_transformer_of_words_is_explained_to_the_tolerance(reader, ids) -> None:
    found = attribute(reader, ids, FIELDS)
    assert found.completeness_gap <= 0.01
    assert found.baseline == "the zero vector in every place"
    assert again(reader, ids, found) == pytest.approx(found.rows, abs=1e-6)


def test_an_occluded_token_is_the_answer_less_that_with_the_baseline_token_in_its_place(reader, ids) -> None:
    found = attribute(reader, ids, FIELDS, method="token_occlusion", baseline=torch.full((PLACES,), 4))
    model = reader.eval()

    def score(rows):
        answers = model(rows).detach()
        return (answers[:, 1] - answers[:, 0]).numpy()

    for place in range(PLACES):
        covered = ids.clone()
        covered[:, place] = 4
        assert found.rows[:, place] == pytest.approx(score(ids) - score(covered), abs=1e-5)


def test_tokens_that_a_schema_encodes_as_numbers_are_explained_at_the_embedding_too(ids) -> None:
    torch.manual_seed(2)
    model = Encoded()
    x = ids.float() / (WORDS - 1) * 2 - 1
    found = attribute(model, x, FIELDS)
    assert found.method == "layer_integrated_gradients"
    torch.manual_seed(2)
    assert found.rows == pytest.approx(attribute(Reader(), ids, FIELDS).rows, abs=1e-5)


def test_the_number_of_rows_in_a_chunk_changes_nothing(reader, ids, monkeypatch) -> None:
    whole = attribute(reader, ids, FIELDS)
    monkeypatch.setattr("pellucid.explain.attribution.path.POINTS", 40)
    assert attribute(reader, ids, FIELDS).rows == pytest.approx(whole.rows, abs=1e-5)


@pytest.mark.parametrize(("model", "match"), [(Pairs(), "depends on more"), (Twice(), "more than once")])
def test_an_embedding_whose_vectors_are_not_of_their_places_is_refused(model, match, ids) -> None:
    with pytest.raises(UnsupportedModel, match=match):
        attribute(model, ids, FIELDS, target=1)


def test_a_model_without_an_embedding_is_refused(ids) -> None:
    class Numbers(nn.Linear):
        def forward(self, ids):
            return super().forward(ids.float())

    with pytest.raises(UnsupportedModel, match="no embedding"):
        attribute(Numbers(PLACES, 1), ids, FIELDS)


def test_arithmetic_on_token_ids_is_refused(reader, ids) -> None:
    for method in ("integrated_gradients", "shapley_sampling", "occlusion"):
        with pytest.raises(UnsupportedModel, match="token ids are names"):
            attribute(reader, ids, FIELDS, method=method)


@pytest.mark.parametrize(
    ("rows", "baseline", "match"),
    [
        (torch.full((5, PLACES), WORDS), None, "does not know"),
        (torch.full((5, PLACES), -1), None, "does not know"),
        (torch.ones(5, PLACES), torch.tensor(WORDS), "outside 0"),
        (torch.ones(5, PLACES), torch.tensor(0.5), "int64"),
        (torch.ones(5, PLACES, dtype=torch.int64)[:, :4], None, "fields speak of 6"),
        (torch.ones(0, PLACES, dtype=torch.int64), None, "at least one row"),
        (torch.ones(5, PLACES, dtype=torch.bool), None, "float32"),
    ],
)
def test_token_ids_that_cannot_be_are_refused(reader, rows, baseline, match) -> None:
    given = rows.long() if rows.is_floating_point() else rows
    with pytest.raises(BadData, match=match):
        attribute(reader, given, FIELDS, baseline=baseline)


def test_no_hook_stays_on_the_model(reader, ids) -> None:
    hooks = [list(part._forward_hooks) for part in reader.modules()]
    attribute(reader, ids, FIELDS)
    attribute(reader, ids, FIELDS, method="token_occlusion")
    assert [list(part._forward_hooks) for part in reader.modules()] == hooks
    assert np.isfinite(attribute(reader, ids, FIELDS).rows).all()
