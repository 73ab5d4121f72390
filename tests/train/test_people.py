"""People with several rows: drawn together, their mean gradient clipped as one, and never more than that."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train import naive
from tests.train.naive import LOSS, Make, alone, clipped_mean, length, mlp, quiet
from torch import Tensor, nn

from pellucid.errors import BadData, Misuse, UnsupportedModel
from pellucid.privacy import Plan
from pellucid.train import private
from pellucid.train.contributions import Contribution, Direct, Outer, Room, Rows, by_person, layout
from pellucid.train.persons import Persons

ROWS = 6
plan = functools.partial(naive.plan, units=40, batch=12, epochs=2.0, clip=0.3, unit_rows=ROWS)


class Everybody:
    """Draws all people, in a step as in any."""

    def __init__(self, people: int) -> None:
        self.people = people

    def draw(self, step: int) -> Tensor:
        return torch.arange(self.people)


class Sequence(nn.Module):
    """Words to an LSTM to classes."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.cell, self.out = nn.Embedding(11, 4), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.cell(self.words(x))[0]
        return self.out(hidden[:, -1])


class Attention(nn.Module):
    """Words to a transformer layer, decoded by the table of the words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 4)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.decode, self.out = nn.Linear(4, 11, bias=False), nn.Linear(11, 3)
        self.decode.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.decode(self.layer(self.words(x))).mean(1))


class Gain(nn.Module):
    """A layer without a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.out = nn.Parameter(torch.ones(5)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x * self.gain)


def cnn() -> nn.Module:
    """Images of 6 by 6 to three classes."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, groups=2),
        nn.ReLU(), nn.Flatten(), nn.Linear(24, 3),
    )  # fmt: skip


NETS: dict[str, tuple[Make, Callable[[int], Tensor]]] = {
    "mlp": (mlp, lambda n: torch.rand(n, 5) * 2 - 1),
    "cnn": (cnn, lambda n: torch.rand(n, 1, 6, 6) * 2 - 1),
    "lstm": (Sequence, lambda n: torch.randint(0, 11, (n, 7))),
    "tied transformer": (Attention, lambda n: torch.randint(0, 11, (n, 7))),
    "no rule": (Gain, lambda n: torch.rand(n, 5) * 2 - 1),
}


def visits(make: Callable[[int], Tensor], *, people: int = 30, most: int = ROWS) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of people with 1 to ``most`` rows each, in no order: inputs, classes, and whose they are."""
    torch.manual_seed(3)
    counts = torch.randint(1, most + 1, (people,))
    owners = torch.arange(people).repeat_interleave(counts) * 7 - 50
    owners = owners[torch.randperm(len(owners))]
    return make(len(owners)), torch.randint(0, 3, (len(owners),)), owners


def by_owner(module: nn.Module, x: Tensor, y: Tensor, owners: Tensor) -> Iterator[dict[str, Tensor]]:
    """The naive twin: the gradient of the mean loss over one person's rows, person after person."""
    for owner in owners.unique():
        own = owners == owner
        yield from alone(module, x[own], y[own], views=int(own.sum()))


def released(
    module: nn.Module, x: Tensor, y: Tensor, owners: Tensor, how: Plan, chunk: int | None = None, **options: Any
) -> dict[str, Tensor]:
    """A noiseless step on everybody."""
    private_model, stepper, batches = private(
        module, torch.optim.SGD(module.parameters(), lr=1.0), how, x, y, people=owners, noise=quiet(), **options
    )
    stepper._recorder.chunk = chunk
    batches._drawing = Everybody(int(owners.unique().numel()) if how.sampling == "user" else len(x))
    xb, yb = next(batches)
    LOSS(private_model(xb), yb).backward()
    stepper.step()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def far(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """How far apart, relative to the whole."""
    gaps = {name: found[name].double() - expected[name].double() for name in expected}
    return length(gaps) / length(expected)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("net", list(NETS))
@pytest.mark.parametrize("clip", [0.05, 0.5, 100.0])
def test_clipped_sums_by_person_are_those_of_brute_force(net: str, kind: torch.dtype, clip: float) -> None:
    """To 1e-5 of the whole in float32, and in float64 to 1e-10 beyond the margin that keeps a clip below C."""
    from pellucid.train.clipping import MARGIN

    make, inputs = NETS[net]
    x, y, owners = visits(inputs)
    module = make().to(kind)
    x = x.to(kind) if x.is_floating_point() else x
    how = plan(clip=clip)
    twin = copy.deepcopy(module).train()
    found = released(module, x, y, owners, how)
    expected = clipped_mean(
        by_owner(twin, x, y, owners), how, lambda norm: min(1.0, MARGIN * clip / norm) if norm else 0.0
    )
    assert far(found, expected) < (1e-5 if kind == torch.float32 else 1e-10)


@pytest.mark.parametrize("net", list(NETS))
@pytest.mark.parametrize("chunk", [1, 5, 17, 10_000])
def test_a_persons_rows_are_never_split_over_chunks(net: str, chunk: int) -> None:
    """Also where a chunk would hold less than one person."""
    make, inputs = NETS[net]
    x, y, owners = visits(inputs)
    module = make()
    twin = copy.deepcopy(module)
    whole, parts = released(module, x, y, owners, plan()), released(twin, x, y, owners, plan(), chunk)
    assert far(parts, whole) < 1e-5


@pytest.mark.parametrize("clipping", ["flat", "per_layer", "automatic", "adaptive"])
@pytest.mark.parametrize("net", ["mlp", "cnn", "lstm"])
def test_one_person_added_or_removed_moves_the_sum_by_at_most_the_clip(net: str, clipping: str) -> None:
    """Whoever it is, however many rows they have, and however large those are."""
    make, inputs = NETS[net]
    x, y, owners = visits(inputs, people=9)
    if x.is_floating_point():
        x[owners == owners[0]] *= 1e4
    how = plan(clipping=clipping, clip=0.3)
    module = make()
    whole = released(copy.deepcopy(module), x, y, owners, how)
    for owner in owners.unique():
        rest = owners != owner
        without = released(copy.deepcopy(module), x[rest], y[rest], owners[rest], how)
        moved = {name: (whole[name].double() - without[name].double()) * how.normaliser for name in whole}
        assert 0 < length(moved) <= 0.3 * (1 + 1e-6)


def test_drawing_rows_bounds_every_row_alone() -> None:
    """A person then moves the sum by the clip times their rows at most, which the accountant is told."""
    x, y, owners = visits(NETS["mlp"][1], people=9)
    how, module = plan(sampling="example", clip=0.3), mlp()
    twin = copy.deepcopy(module).train()
    found = released(copy.deepcopy(module), x, y, owners, how)
    assert far(found, clipped_mean(alone(twin, x, y), how)) < 2e-5
    for owner in owners.unique():
        rest = owners != owner
        without = released(copy.deepcopy(module), x[rest], y[rest], owners[rest], how)
        moved = {name: (found[name].double() - without[name].double()) * how.normaliser for name in found}
        assert 0 < length(moved) <= 0.3 * int((~rest).sum()) * (1 + 1e-6)


def test_views_of_rows_are_averaged_with_the_rows() -> None:
    x, y, owners = visits(NETS["cnn"][1], people=12)
    module, how = cnn(), plan(augmentations=3)
    twin = copy.deepcopy(module).train()

    def numbered(rows: Tensor) -> Tensor:
        return rows * (1 + torch.arange(len(rows)) % 3).view(-1, 1, 1, 1)

    def each() -> Iterator[dict[str, Tensor]]:
        for owner in owners.unique():
            own = owners == owner
            views = torch.cat([x[own] * k for k in (1, 2, 3)])
            yield from alone(twin, views, y[own].repeat(3), views=len(views))

    expected = clipped_mean(each(), how)
    for chunk in (None, 7):
        found = released(copy.deepcopy(module), x, y, owners, how, chunk, augment=_safe(numbered))
        assert far(found, expected) < 2e-5


def _safe(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The probe asks about four rows and has no views; let it see a change that blends nothing."""
    return lambda rows: change(rows) if len(rows) > 4 else rows


def test_a_person_whose_gradient_is_not_finite_counts_nothing_and_harms_nobody() -> None:
    x, y, owners = visits(NETS["mlp"][1], people=9)
    module, how = mlp(), plan()
    rest = owners != owners[0]
    expected = released(copy.deepcopy(module), x[rest], y[rest], owners[rest], how)
    x[(~rest).nonzero()[0]] = torch.inf
    assert far(released(module, x, y, owners, how), expected) < 1e-6


def test_people_are_drawn_with_all_their_rows_side_by_side() -> None:
    x, y, owners = visits(NETS["mlp"][1], people=40)
    x[:, 0] = owners.float()
    module = mlp()
    model, stepper, batches = private(
        module, torch.optim.SGD(module.parameters(), lr=0.0), plan(epochs=30.0), x, y, people=owners, noise=quiet()
    )
    seen = torch.zeros(40)
    numbers = owners.unique().float()
    for xb, yb in batches:
        LOSS(model(xb), yb).backward()
        stepper.step()
        drawn, counts = torch.unique_consecutive(xb[:, 0], return_counts=True)
        assert len(drawn.unique()) == len(drawn), "a person's rows stand together"
        assert torch.equal(counts, torch.stack([(owners == int(d)).sum() for d in drawn]))
        seen += torch.isin(numbers, drawn)
    rate = seen / batches.steps
    # 100 steps at 0.3: six standard deviations are 0.28
    assert ((rate - 0.3).abs() < 0.28).all()
    assert abs(float(rate.mean()) - 0.3) < 0.045  # six for 4000 draws


def test_an_empty_sample_of_people_adds_nothing() -> None:
    x, y, owners = visits(NETS["mlp"][1], people=9)
    module = mlp()
    how = plan(clip=0.3)
    model, stepper, batches = private(
        module, torch.optim.SGD(module.parameters(), lr=1.0), how, x, y, people=owners, noise=quiet()
    )
    batches._drawing = Everybody(0)
    xb, yb = next(batches)
    LOSS(model(xb), yb).backward()
    stepper.step()
    assert all(not p.grad.any() for p in module.parameters())


# -- from rows to people, form by form --------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(0, 2**20))
def test_every_form_by_person_is_the_mean_over_their_rows(counts: list[int], draw: int) -> None:
    torch.manual_seed(draw)
    rows = sum(counts)
    forms: list[Contribution] = [
        Direct(torch.randn(rows, 3)),
        Outer(torch.randn(rows, 4), torch.randn(rows, 3)),
        Outer(torch.randn(rows, 2, 4), torch.randn(rows, 2, 3)),
        Rows(torch.randint(0, 5, (rows, 3)), torch.randn(rows, 3, 2), 5),
    ]
    ends = torch.tensor(counts).cumsum(0).tolist()
    factors = torch.rand(len(counts), dtype=torch.float64)
    some = torch.randperm(len(counts))[: max(1, len(counts) // 2)]
    for form in forms:
        written = form.per_unit().double()
        means = torch.stack([written[end - n : end].mean(0) for end, n in zip(ends, counts, strict=True)])
        people = by_person(form, layout(torch.tensor(counts)))
        assert people.units == len(counts)
        assert people.shape == form.shape
        near = functools.partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5, check_dtype=False)
        near(people.per_unit(), means)
        near(people.squared_norms(Room(1 << 20)), means.flatten(1).square().sum(1))
        near(people.weighted_sum(factors), (factors.view(-1, *(1,) * (means.dim() - 1)) * means).sum(0))
        near(people.select(some).per_unit(), means[some])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_every_row_counts_once_and_at_most_half_of_what_is_computed_is_padding(counts: list[int]) -> None:
    found = layout(torch.tensor(counts))
    people = torch.cat([each.people for each in found])
    assert sorted(people.tolist()) == list(range(len(counts)))
    rows = torch.cat([each.rows[each.shares > 0] for each in found])
    assert sorted(rows.tolist()) == list(range(sum(counts)))
    for each in found:
        shares = each.shares.view(len(each.people), -1).sum(1)
        torch.testing.assert_close(shares, torch.ones_like(shares))
    assert sum(len(each.rows) for each in found) < 2 * sum(counts)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_the_rows_of_drawn_people_are_theirs(owners: list[int]) -> None:
    persons = Persons(torch.tensor(owners), 40)
    numbers = sorted(set(owners))
    drawn = torch.arange(0, len(numbers), 2)
    rows, counts = persons.rows_of(drawn)
    found = [owners[row] for row in rows.tolist()]
    assert found == [numbers[d] for d in drawn.tolist() for _ in range(owners.count(numbers[d]))]
    assert counts.tolist() == [owners.count(numbers[d]) for d in drawn.tolist()]


# -- refused ----------------------------------------------------------------------------------------------------------


def test_what_the_plan_says_of_people_has_to_be_there_and_to_hold() -> None:
    x, y, owners = visits(NETS["mlp"][1])

    def asked(how: Plan, people: Tensor | None) -> None:
        module = mlp()
        private(module, torch.optim.SGD(module.parameters(), lr=1.0), how, x, y, people=people, noise=quiet())

    with pytest.raises(Misuse, match="nothing says whose rows"):
        asked(plan(), None)
    with pytest.raises(Misuse, match="nothing says whose rows"):
        asked(plan(sampling="example"), None)
    for sampling in ("user", "example"):
        with pytest.raises(BadData, match="more than 2 rows") as caught:
            asked(plan(unit_rows=2, sampling=sampling), owners)
        assert not any(str(int(owner)) in str(caught.value) for owner in owners.unique() if abs(owner) > 9)
    with pytest.raises(BadData, match="more than 1 row,"):
        asked(naive.plan(), owners)
    with pytest.raises(BadData, match="for every row"):
        asked(plan(), owners[:-1])
    with pytest.raises(BadData, match="int64"):
        asked(plan(), owners.float())
    with pytest.raises(BadData, match="int64"):
        asked(plan(), owners[:, None])


def test_a_rule_that_is_wrong_for_people_shows_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of made-up people are held against autograd, person by person."""
    from pellucid.train import selfcheck

    monkeypatch.setattr(selfcheck, "layout", lambda counts: layout(counts.flip(0)))
    x, y, owners = visits(NETS["mlp"][1])
    with pytest.raises(UnsupportedModel, match="not what the gradient says"):
        released(mlp(), x, y, owners, plan())
