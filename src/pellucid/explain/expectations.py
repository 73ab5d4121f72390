"""Does the model do what somebody who knows the field expects of it? Every expectation is tested, one by one.

A status is ``met`` or ``not met`` only where a measurement, with the whole of its interval, or the encoding itself says
so. Whatever could not be measured, or whose interval reaches over the limit, is ``unmeasured`` with the reason.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from pellucid.errors import BadData, UnknownName, UnsupportedModel
from pellucid.evidence import Estimate
from pellucid.explain import proxies
from pellucid.explain.answers import outputs, pick
from pellucid.explain.attribution import Attribution, attribute
from pellucid.explain.background import Background
from pellucid.explain.directions import course, lift
from pellucid.explain.expected import Expectation, Expectations, Limit, Monotone, Proxy, Sign
from pellucid.explain.fields import Fields
from pellucid.explain.groups import group_names
from pellucid.explain.importance import Importance, permute_columns
from pellucid.explain.inputs import check_rows
from pellucid.explain.intervals import MINIMUM_CELL, Mean, Z, grid_of, on_grid
from pellucid.explain.model import frozen
from pellucid.explain.outcomes import BACKGROUND, EXPLAINED, PUBLIC, WALKS, Outcome, Outcomes, Status
from pellucid.explain.predictions import check_labels
from pellucid.explain.probe import public_rows
from pellucid.explain.reference import reference_words
from pellucid.explain.shapley import ShapleyValues
from pellucid.explain.steady import steady
from pellucid.explain.walks import estimate_shapley
from pellucid.schema import MISSING, Encoding

__all__ = ["HeldOut", "hold", "shares"]

UNUSED: Final = "not used by the model: the column is none of its features"
CONSTANT: Final = "the model's answers do not vary on these rows"
UNDECIDED: Final = "the interval reaches over the limit: undecided"


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Held-out people, and the special columns that whoever asks may read. All of it is private, and not shown.

    Attributes:
        x: (N, width) float32.
        y: (N,) int64 class numbers.
        special: By column, the category of each person as text, (N,).
    """

    x: Tensor = field(repr=False)
    y: Tensor = field(repr=False)
    special: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict, repr=False)


def hold(
    model: nn.Module,
    expectations: Expectations,
    encoding: Encoding,
    held: HeldOut | None = None,
    *,
    seed: int = 0,
) -> Outcomes:
    """Test every expectation on the model. Never counts as met what was not measured.

    Args:
        model: Standard modules. It is not touched.
        expectations: Of the schema that ``encoding`` follows from.
        encoding: Of the model's rows.
        held: Held-out people, for what is asked of people; without them that is unmeasured.
        seed: Public; draws public rows, permutations and folds, no noise.

    Raises:
        BadData: Rows, labels or groups of another type or shape, or NaN.
        UnsupportedModel: The model is random in eval mode or mixes rows, or has more than two classes and the file
            names none.
    """
    asking = _Asking(model, expectations, encoding, held, seed)
    found = tuple(asking.test(item) for item in expectations.items)
    return Outcomes(found, expectations, seed, reference_words(encoding))


def shares(found: Attribution | ShapleyValues) -> dict[str, Estimate]:
    """Each column's share of all attribution, with the 95 % interval of a ratio over rows; at least two rows.

    Of ten people or more it is on the grid of a mean of what one of them adds, the interval outwards: with known
    weights an exact share is a ratio of counts, and so is its interval.

    Raises:
        BadData: Nothing was attributed to any column, so that there is nothing to have a share of.
    """
    sizes = np.abs(found.rows)
    whole = sizes.sum(axis=1)
    if not whole.any():
        raise BadData(CONSTANT, where="attribution")
    grid = 0.0 if found.covered or len(whole) < MINIMUM_CELL else grid_of(whole / whole.mean())
    parts = {}
    for name, column in zip(found.fields.names, sizes.T, strict=True):
        share = float(column.mean() / whole.mean())
        half = Z * float((column - share * whole).std(ddof=1)) / (len(whole) ** 0.5 * float(whole.mean()))
        exact = Estimate(share, max(0.0, share - half), min(1.0, share + half), found.n)
        parts[name] = on_grid(exact, grid, high=1.0) if grid else exact
    return parts


class _Asking:
    """One file held against one model: rows and importances that several expectations ask for are made once."""

    def __init__(
        self, model: nn.Module, asked: Expectations, encoding: Encoding, held: HeldOut | None, seed: int
    ) -> None:
        self._model, self._encoding, self._held, self._seed = frozen(model), encoding, held, seed
        self._public = public_rows(encoding, PUBLIC, seed=seed)
        steady(self._model, self._public)
        found = outputs(self._model, self._public[:1])
        outcome = encoding.classes.index(asked.outcome) if asked.outcome is not None else None
        if found.ndim == 2 and outcome is None:
            raise UnsupportedModel(
                f"expectations are about one score, and this model has {found.shape[1]} classes",
                where="expectations",
                fix='name the class that is meant at the top of the file: class = "…"',
            )
        pick(found, outcome)
        self._attributed: dict[tuple[str, bool], Attribution | ShapleyValues] = {}
        self._outcome = outcome
        self._target = outcome if found.ndim == 2 else None
        self._flip = found.ndim == 1 and outcome == 0
        if held is not None:
            check_rows(held.x, encoding)
            check_labels(held.y.cpu().numpy(), len(held.x), max(2, len(encoding.classes)))

    def test(self, item: Expectation) -> Outcome:
        try:
            match item.about:
                case Monotone():
                    return self._monotone(item, item.about)
                case Sign():
                    return self._sign(item, item.about)
                case Limit():
                    return self._limit(item, item.about)
                case Proxy():
                    return self._proxy(item, item.about)
        except (BadData, UnknownName, UnsupportedModel) as error:  # of this question alone: the others go on
            people = self._held is not None and not isinstance(item.about, Monotone | Sign)
            return Outcome(item, "unmeasured", reason=error.what, people=people)

    def _monotone(self, item: Expectation, about: Monotone) -> Outcome:
        if about.column not in self._encoding.features:
            return Outcome(item, "met", reason=UNUSED)
        found = course(
            self._model,
            self._public,
            self._encoding,
            about.column,
            rising=about.direction == "increasing",
            tolerance=about.tolerance,
            target=self._target,
            flip=self._flip,
        )
        measured = {"share": found.share, "largest_fall": found.largest_fall, "change": found.change}
        reason = "the score does not move with the column" if found.flat else ""
        return Outcome(item, "met" if found.holds else "not met", measured, reason)

    def _sign(self, item: Expectation, about: Sign) -> Outcome:
        if about.column not in self._encoding.features:
            return Outcome(item, "not met", reason=UNUSED)
        (code,) = (code for code in self._encoding.codes if code.column == about.column)
        place = (code.categories or ("false", "true")).index(about.category)
        positive = about.sign == "positive"
        found = lift(
            self._model,
            self._public,
            self._encoding,
            about.column,
            place,
            positive=positive,
            target=self._target,
            flip=self._flip,
        )
        low, high = (found.effect.low, found.effect.high) if positive else (-found.effect.high, -found.effect.low)
        broken = False if low > 0 else True if high <= 0 else None
        return _decided(item, broken, {"effect": found.effect, "share": found.share})

    def _limit(self, item: Expectation, about: Limit) -> Outcome:
        if about.column not in self._encoding.features:
            return Outcome(item, "met", reason=UNUSED)
        people = about.rows == "held-out"
        held = self._people() if people else None
        if about.by == "auc":
            drop = self._importance.columns[about.column]
            return _decided(item, _beyond([drop], about.at_most), {"drop_in_auc": drop}, people=True)
        rows = self._public if held is None else held.x
        found = self._attributions(rows, about.by, public=not people)
        if not found.rows.any():
            return Outcome(item, "met", reason=CONSTANT, people=people)
        share = shares(found)[about.column]
        return _decided(item, _beyond([share], about.at_most), {"share": share}, people=people)

    def _proxy(self, item: Expectation, about: Proxy) -> Outcome:
        held = self._people()
        if about.of not in held.special:
            raise BadData("who asked may not read this column, so nobody can tell who is of which category")
        groups = group_names(held.special[about.of], len(held.x), about.of)
        names = [about.category] if about.category is not None else sorted(set(groups.tolist()) - {MISSING})
        names = names[1:] if len(names) == 2 else names  # of two, each is the other's guess
        score = pick(outputs(self._model, held.x), self._outcome).numpy()
        x, labels = held.x.cpu().double().numpy(), held.y.cpu().numpy()
        found, few = {}, []
        for name in names:
            member = groups == name
            if min(member.sum(), (~member).sum()) < MINIMUM_CELL:
                few.append(name)
            else:
                found[name] = proxies.guess(x, member, score, labels, seed=self._seed)
        verdicts = [_forbidden(each, about) for each in found.values()] + [None] * len(few)
        broken = True if True in verdicts else None if None in verdicts else False
        measured = {name: each.values() for name, each in found.items()}
        if few and broken is None:
            words = f"fewer than {MINIMUM_CELL} held-out people are, or are not, {', '.join(few)}"
            return Outcome(item, "unmeasured", measured, words, people=True)
        reason = "the column itself is among the model's features" if about.of in self._encoding.features else ""
        return _decided(item, broken, measured, reason, people=True)

    def _people(self) -> HeldOut:
        if self._held is None:
            raise BadData("it is asked of held-out people, and none were at hand")
        if len(self._held.x) < MINIMUM_CELL:
            raise BadData(f"fewer than {MINIMUM_CELL} people are held out")
        return self._held

    @functools.cached_property
    def _importance(self) -> Importance:
        held = self._people()
        return permute_columns(self._model, held.x, held.y, self._encoding, seed=self._seed)

    def _attributions(self, rows: Tensor, by: str, *, public: bool) -> Attribution | ShapleyValues:
        if (by, public) not in self._attributed:
            self._attributed[by, public] = (
                self._shapley(rows, public=public)
                if by == "shapley"
                else attribute(self._model, rows, self._encoding, target=self._outcome, seed=self._seed, public=public)
            )
        return self._attributed[by, public]

    def _shapley(self, rows: Tensor, *, public: bool) -> ShapleyValues:
        """Shapley values of the first rows relative to the last ones, of people as of public rows."""
        source = "made from the declared schema" if public else "held-out rows"
        return estimate_shapley(
            self._model,
            rows[:EXPLAINED],
            Background(rows[-BACKGROUND:], public=public, source=source),
            Fields.of(self._encoding),
            walks=WALKS,
            seed=self._seed,
            target=self._outcome,
            public=public,
        )


def _decided(
    item: Expectation, broken: bool | None, measured: Mapping[str, Any], reason: str = "", *, people: bool = False
) -> Outcome:
    status: Status = "unmeasured" if broken is None else "not met" if broken else "met"
    return Outcome(item, status, measured, UNDECIDED if broken is None else reason, people)


def _beyond(found: Iterable[Estimate], limit: float) -> bool | None:
    """Whether any estimate is beyond the limit: yes or no by whole intervals as they are published, else None."""
    several = [on_grid(each, each.grid) if isinstance(each, Mean) and each.grid else each for each in found]
    if any(each.low > limit for each in several):
        return True
    return False if all(each.high <= limit for each in several) else None


def _forbidden(found: proxies.Guess, about: Proxy) -> bool | None:
    """Whether a guess is beyond every limit that was given; one limit that holds is enough for a no."""
    answers = []
    if about.at_most_auc is not None:
        answers.append(_beyond(found.auc.values(), about.at_most_auc))
    if about.use_at_most is not None:
        answers.append(_beyond([found.use], about.use_at_most))
    return False if False in answers else None if None in answers else True
