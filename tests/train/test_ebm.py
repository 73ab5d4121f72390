"""Private boosting: its sensitivity, its noise, and that nothing else leaves."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.train.boosted import ENCODING, plan, sample

from pellucid.errors import BadData, Misuse
from pellucid.explain.ranking import auc
from pellucid.privacy import BoostPlan, accounting
from pellucid.train.additive import Additive
from pellucid.train.ebm import Boosting
from pellucid.train.noise import UnsafeZeroNoise

BINS = 8


class Told:
    """In place of noise: what is released is told beforehand, and what would have been released is kept."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.sums: list[np.ndarray] = []
        self.stds: list[float] = []

    def normals(self, count: int) -> torch.Tensor:
        raise AssertionError("boosting adds noise by add alone")

    def add(self, sums: torch.Tensor, std: float) -> None:
        self.sums.append(sums.numpy().copy())
        self.stds.append(std)
        histogram = len(self.stds) <= len(ENCODING.codes)
        sums.copy_(torch.from_numpy(self.random.normal(200.0 if histogram else 0.0, 60.0, len(sums))))


def boosted(x: torch.Tensor, y: torch.Tensor, noise: object, *, rounds: int = 20, leaves: int = 3) -> Boosting:
    made = Boosting(Additive(ENCODING, BINS), plan(rounds=rounds), x, y, learning_rate=0.3, leaves=leaves, noise=noise)
    made._random = np.random.default_rng(1)  # the same cuts every time
    made.run()
    made.close()
    return made


@given(st.integers(0, 399), st.integers(0, 2**16), st.integers(2, 6))
def test_one_person_moves_one_coordinate_of_each_released_vector_by_at_most_1(who: int, seed: int, leaves: int) -> None:
    x, y = sample(400, seed % 7)
    rest = torch.arange(400) != who
    with_them, without = Told(seed), Told(seed)
    boosted(x, y, with_them, rounds=4, leaves=leaves)
    boosted(x[rest], y[rest], without, rounds=4, leaves=leaves)
    assert len(with_them.sums) == len(without.sums) == plan(rounds=4).steps
    columns = len(ENCODING.codes)
    for step, (more, less) in enumerate(zip(with_them.sums, without.sums, strict=True)):
        change = more - less
        assert np.count_nonzero(change) <= 1
        assert np.abs(change).sum() <= 1.0
        if step < columns:
            assert np.abs(change).sum() == 1.0


def test_the_noise_is_that_of_the_events_and_there_is_no_other_release() -> None:
    noise, made = Told(), plan()
    boosted(*sample(300), noise)
    counts, sums = made.events
    assert (counts["count"], sums["count"]) == (5, 100)
    assert len(noise.stds) == made.steps == counts["count"] + sums["count"]
    for std, event in [(std, counts) for std in noise.stds[:5]] + [(std, sums) for std in noise.stds[5:]]:
        told = float(event["noise_multiplier"])
        assert told <= std <= told * (1 + 1e-8)  # widened by what rounding to the grid adds
    assert accounting.epsilon(made.events, made.delta) == made.epsilon <= 4.0


def test_the_model_is_a_function_of_what_was_released_alone() -> None:
    """Other people, and another number of them: the same releases give the same model to the bit."""
    first = boosted(*sample(300, 1), Told(5))
    second = boosted(*sample(911, 2), Told(5))
    for name, tensor in first._model.state_dict().items():
        assert torch.equal(tensor, second._model.state_dict()[name])
    assert first._model.values.abs().max() > 0


def test_training_followed_the_very_scores_of_the_model() -> None:
    x, y = sample(500)
    made = boosted(x, y, Told(3))
    assert made._model(x)[:, 1].detach().double().numpy() == pytest.approx(made._scores, abs=2e-5)


def test_residuals_add_up_exactly_in_any_order() -> None:
    x, y = sample(700)
    there, mixed = Told(4), Told(4)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x)))
    boosted(x, y, there)
    boosted(x[order], y[order], mixed)
    assert all((a == b).all() for a, b in zip(there.sums, mixed.sums, strict=True))


def naive(x: torch.Tensor, y: torch.Tensor, made: BoostPlan) -> np.ndarray:
    """Scores of noiseless boosting with as many leaves as groups: person by person, a dictionary a column."""
    model = Additive(ENCODING, BINS)
    places = model.places(x).tolist()
    least = max(made.train_units / (2 * BINS), 4 * made.count_noise)
    tables = []
    for column, table in enumerate(model.tables):
        counts = [sum(row[column] == cell for row in places) for cell in range(len(table))]
        assert min(counts) >= least, "every cell is a group of its own here"
        tables.append((counts, [0.0] * len(table)))

    def score(row: int) -> float:
        total = 0.0
        for column, (table, (_, values)) in enumerate(zip(model.tables, tables, strict=True)):
            cell, slots = places[row][column], x[row, table.slots].double().tolist()
            if cell < table.ordered and table.code.how in ("linear", "log"):
                total += float(np.interp((slots[0] + 1) * BINS / 2 - 0.5, range(BINS), values[:BINS]))
            else:
                total += values[cell]
        return total

    for _ in range(made.rounds):
        for column, (counts, values) in enumerate(tables):
            sums = [0.0] * len(values)
            for row in range(len(x)):
                sums[places[row][column]] += float(y[row]) - 1 / (1 + np.exp(-score(row)))
            for cell in range(len(values)):
                values[cell] += 0.3 * sums[cell] / counts[cell]
    return np.array([score(row) for row in range(len(x))])


def test_without_noise_it_is_boosting_as_one_would_write_it_down() -> None:
    x, y = sample(600, 3)
    with pytest.warns(UserWarning, match="without noise"):
        noise = UnsafeZeroNoise()
    made = plan(epsilon=400, rounds=2, units=300)
    model = Additive(ENCODING, BINS)
    boosting = Boosting(model, made, x, y, learning_rate=0.3, leaves=99, noise=noise)
    boosting.run()
    boosting.close()
    assert model(x)[:, 1].detach().numpy() == pytest.approx(naive(x, y, made), abs=1e-4)


def test_it_learns_with_its_own_noise() -> None:
    x, y = sample(3000, 8)
    model = Additive(ENCODING, 16)
    made = Boosting(model, plan(rounds=30, units=4000), x, y, learning_rate=0.4, leaves=3)
    made.run()
    made.close()
    other, truth = sample(3000, 9)
    found = auc(model(other)[:, 1].detach().double().numpy(), truth.numpy() == 1)
    right = auc((-2.5 * other[:, 0] + 2.0 * other[:, 6]).double().numpy(), truth.numpy() == 1)
    assert found.value > right.value - 0.05
    age, job = model.tables[0], model.tables[3]
    values = model.values.detach()
    assert values[age.cells][0] > 0 > values[age.cells][-1]
    assert values[job.cells].argmax() == 0  # clerks


def test_scores_stay_when_means_move_into_the_intercept() -> None:
    made = boosted(*sample(400), Told(2))
    x, _ = sample(100, 4)
    before = made._model(x).detach().clone()
    for values, groups, weights in zip(made._values, made._groups, made._weights, strict=True):
        mean = np.average([values[group[len(group) // 2]] for group in groups], weights=weights)
        assert abs(mean) < 1e-9
    assert float(made._model.intercept.detach().abs()) > 0
    assert torch.equal(made._model(x).detach(), before)


def test_the_private_count_is_nowhere_in_what_it_says() -> None:
    made = boosted(*sample(433), Told())
    assert repr(made) == f"Boosting(step {made.steps_taken} of {made.steps_taken})"


def test_bad_input_is_refused() -> None:
    x, y = sample(50)
    model = Additive(ENCODING, BINS)
    other = BoostPlan.calibrate(epsilon=1, delta=1e-5, units=3000, test=0.3, columns=4, rounds=2)
    with pytest.raises(Misuse, match="columns"):
        Boosting(model, other, x, y, learning_rate=0.1, leaves=3)
    for rows, targets in ((x, y[:-1]), (x, y.float()), (x, y + 1), (x[:, 0], y)):
        with pytest.raises(BadData):
            Boosting(model, plan(), rows, targets, learning_rate=0.1, leaves=3)
    made = boosted(x, y, Told())
    with pytest.raises(Misuse, match="once"):
        made.run()


def test_an_interrupt_leaves_a_model_of_the_steps_taken() -> None:
    x, y = sample(200)
    model = Additive(ENCODING, BINS)

    def stop(step: int) -> None:
        if step == limit:
            raise KeyboardInterrupt

    for limit in (3, 17):
        made = Boosting(model, plan(), x, y, learning_rate=0.1, leaves=3, noise=Told(), on_step=stop)
        with pytest.raises(KeyboardInterrupt):
            made.run()
        made.close()
        assert made.steps_taken == limit
        assert bool(torch.isfinite(model.values).all())


def library(x: np.ndarray, y: np.ndarray, kind: str, **settings: object) -> object:
    """The DP-EBM of ``interpret.privacy`` on one column, told all that it can be told."""
    from interpret.privacy import DPExplainableBoostingClassifier

    made = DPExplainableBoostingClassifier(
        feature_names=["a"], feature_types=[kind], max_rounds=1, n_jobs=1, privacy_bounds={"a": (0.0, 1.0)}, **settings
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return made.fit(x.reshape(-1, 1), y)


def test_why_not_the_library_its_noisy_bins_start_at_the_exact_number_of_people() -> None:
    """What it calls noisy never lies below n / 31: an output in between tells n people from one more."""
    random = np.random.default_rng(0)
    for n in (3100, 6200):
        x, y = random.random(n), random.integers(0, 2, n)
        for _ in range(5):
            kept = library(x, y, "continuous", epsilon=1.0).bin_weights_[0][1:-1]
            assert kept.min() >= n / 31


def test_why_not_the_library_a_category_of_one_person_is_seen_only_if_they_are_there() -> None:
    n = 300
    x, y = np.array(["common"] * n, dtype=object), np.arange(n) % 2
    someone = x.copy()
    someone[0] = "rare"
    without = sum("rare" in library(x, y, "nominal", epsilon=0.5).bins_[0][0] for _ in range(20))
    seen = sum("rare" in library(someone, y, "nominal", epsilon=0.5).bins_[0][0] for _ in range(20))
    assert without == 0
    assert seen > 0  # with chance above 0.3 each: no delta of 1e-5 allows that
