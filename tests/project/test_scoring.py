"""The score of a model on private people: which sums it is taken from, and what one person can do to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pellucid.explain import Predictions
from pellucid.privacy.mechanism import FINE
from pellucid.privacy.scores import of_model
from pellucid.project.scoring import cells, judged, noise_for, private_score, public_score

PERSON = st.tuples(st.floats(-50, 50), st.integers(0, 1))


def predictions(people: list[tuple[float, int]]) -> Predictions:
    return Predictions(np.array([p[0] for p in people]), np.array([p[1] for p in people]))


@pytest.mark.parametrize("ranked", [True, False])
@given(people=st.lists(PERSON, min_size=2, max_size=8), who=st.integers(0, 7))
def test_one_person_moves_the_cells_by_at_most_one(ranked: bool, people: list, who: int) -> None:
    """Sensitivity by brute force: whoever is taken out, one cell loses one."""
    others = [person for i, person in enumerate(people) if i != who % len(people)]
    moved = cells(predictions(people), ranked=ranked) - cells(predictions(others), ranked=ranked)
    assert sorted(moved.tolist()) == [*[0] * (moved.size - 1), FINE]
    assert moved.size == of_model("m", ranked=ranked).vectors[0].size


def test_private_scores_rank_models_as_public_ones_do() -> None:
    x = torch.linspace(-1, 1, 2000)[:, None]
    y = (x[:, 0] > 0).long()
    good, bad = nn.Linear(1, 2), nn.Linear(1, 2)
    with torch.no_grad():
        for module, slope in ((good, 3.0), (bad, -3.0)):
            module.weight.copy_(torch.tensor([[-slope], [slope]]))
            module.bias.zero_()
    for metric in ("accuracy", "auc"):
        noise = noise_for(metric, 2000, epsilon=3.0, delta=1e-5)
        exact = [public_score(module, x, y, metric) for module in (bad, good)]
        noisy = [private_score(module, x, y, metric, noise, 2000) for module in (bad, good)]
        for scores in (exact, noisy):
            assert scores[0]["rank"] < scores[1]["rank"]
        assert noisy[1][metric]["value"] == pytest.approx(exact[1][metric], abs=0.05)
        assert noisy[1][metric]["n"] == 2000


class Overflowing(nn.Module):
    """Logits that one row makes infinite, of two classes or three."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale * torch.arange(len(self.scale)) * 1e38


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("label", [0, 1])
def test_a_person_with_an_infinite_logit_counts_as_wrong_and_is_no_error(classes: int, label: int) -> None:
    x, y = torch.full((40, 1), 0.5), torch.full((40,), classes - 1)
    fine = cells(judged(Overflowing(classes), x, y), ranked=False)
    assert fine.tolist() == [0, 40 * FINE]
    for worst in (100.0, -100.0):
        x[-1], y[-1] = worst, label
        assert cells(judged(Overflowing(classes), x, y), ranked=False).tolist() == [FINE, 39 * FINE]
    if classes == 2:
        ranked = cells(judged(Overflowing(2), x, y), ranked=True)
        wrong = of_model("m").vectors[0].size // 2 - 1 if label == 0 else of_model("m").vectors[0].size // 2
        assert ranked[wrong] == FINE
