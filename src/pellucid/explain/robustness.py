"""What is left of the model when its input is incomplete, noisy, corrupted, or chosen against it?

Strengths are shares of the declared range of a number: 0.1 moves an age declared in [0, 100] by ten years. Numbers
stay in their ranges, and a missing one stays missing. Noise and attacks move numbers only; gaps and corruption take
whole columns, so that nobody has two jobs or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel
from pellucid.evidence import Estimate, Evidence, Subject
from pellucid.explain.answers import CHUNK, answered, fitting, outputs
from pellucid.explain.inputs import check_encoding, check_rows, check_seed
from pellucid.explain.intervals import ROUNDING, rate, versions
from pellucid.explain.model import device_of, frozen, untouched
from pellucid.explain.predictions import Predictions, predict
from pellucid.explain.ranking import AUC_ROUNDING, auc, macro_auc, publish_auc
from pellucid.explain.reference import code_of
from pellucid.schema import Code, Encoding

__all__ = ["Performance", "Robustness", "fgsm", "measure_robustness", "missing_code", "pgd"]

NOISE: Final = (0.0, 0.05, 0.1, 0.2, 0.4)
CORRUPTION: Final = (0.0, 0.1, 0.25, 0.5, 1.0)
ATTACK: Final = (0.0, 0.01, 0.025, 0.05, 0.1)
STEPS: Final = 10
RANGE: Final = 2.0  # width of a declared range in encoded units
SMOOTH: Final = "keep rounding, argmax and detach out of forward"


@dataclass(frozen=True, slots=True)
class Performance:
    """Accuracy and AUC on the same people; the AUC over more than two classes is the mean of one against rest."""

    accuracy: Estimate
    auc: Estimate

    def values(self) -> dict[str, Any]:
        """The record of both."""
        return {"accuracy": self.accuracy.values(), "auc": self.auc.values()}


Curve = tuple[tuple[float, Performance], ...]
_Wrongness = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Robustness:
    """Accuracy and AUC on rows as they are, and on rows that were tampered with.

    Attributes:
        clean: On rows as they are.
        missing: By column, with that column unknown for everybody.
        noise: By standard deviation of normal noise on every number.
        corruption: By chance of each column of a row to be another person's.
        fgsm: By largest change of each number, one step along the sign of the gradient. Empty without numbers,
            or where the model has no gradient.
        pgd: By largest change of each number, best of several projected steps. Empty without numbers.
        steps: Steps of ``pgd``.
        seed: Public.
        replaced: By column, what stood for unknown.
    """

    clean: Performance
    missing: Mapping[str, Performance]
    noise: Curve
    corruption: Curve
    fgsm: Curve
    pgd: Curve
    steps: int
    seed: int
    replaced: Mapping[str, str]

    def values(self) -> dict[str, Any]:
        """The values of ``robustness`` evidence, version 1; a curve that could not be measured has no key."""
        found: dict[str, Any] = {
            **self.clean.values(),
            "missing": {name: part.values() for name, part in self.missing.items()},
        }
        for name in ("noise", "corruption", "fgsm", "pgd"):
            curve = getattr(self, name)
            if curve:
                found[name] = [{"strength": strength, **part.values()} for strength, part in curve]
        return found

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "data": "held-out split",
            "missing": dict(self.replaced),
            "noise": "normal, the same draw scaled, cut to the declared range; strength is its standard deviation in "
            "declared ranges; numbers only",
            "corruption": "each column of each row replaced, with the chance that is the strength, by another row's",
            "attack": "L-infinity within declared ranges, numbers only, strength in declared ranges; loss: the largest "
            "wrong logit less the right one (Carlini and Wagner 2017)",
            "fgsm": "Goodfellow, Shlens and Szegedy 2015",
            "pgd": f"Madry et al. 2018 from the row itself, {self.steps} steps of 2.5 strength/steps; the worst row of "
            "all steps and of fgsm counts",
            "rates": ROUNDING,
            "auc": AUC_ROUNDING,
            "seed": self.seed,
            "libraries": versions("numpy", "torch"),
        }

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject``: measured on held-out people, so uncovered and for auditors."""
        return Evidence("robustness", subject, self.values(), self.how(), "uncovered", tier="auditor")


@untouched()
def measure_robustness(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    encoding: Encoding,
    *,
    noise: Sequence[float] = NOISE,
    corruption: Sequence[float] = CORRUPTION,
    attack: Sequence[float] = ATTACK,
    steps: int = STEPS,
    seed: int = 0,
    chunk: int = CHUNK,
) -> Robustness:
    """Accuracy and AUC under missing columns, noise, corruption, FGSM and PGD.

    At strength 0 every curve is the clean performance, and PGD is never weaker than FGSM. Both attacks are lower bounds
    on what an adversary can do, exact for a linear model of two classes.

    Args:
        model: Returns logits. It is not touched.
        x: (N, width) float32, encoded, at least ten rows of each class.
        y: (N,) int64.
        encoding: Says which slots are numbers, and which belong to one column.
        noise: Standard deviations in declared ranges, not negative.
        corruption: Chances in [0, 1].
        attack: Largest changes in declared ranges, not negative.
        steps: Steps of PGD, at least one.
        seed: Public: it draws perturbations of evaluation rows, no noise of a mechanism.
        chunk: Rows a pass.

    Raises:
        BadData: Wrong type, shape or range, NaN, fewer than ten people of a class, or a strength out of range.
        Misuse: ``encoding`` is none.
        UnsupportedModel: The model is random in eval mode, mixes rows, or returns something else than logits.
    """
    check_encoding(encoding)
    check_rows(x, encoding)
    check_seed(seed)
    for name, strengths, most in (
        ("noise", noise, np.inf),
        ("corruption", corruption, 1.0),
        ("attack", attack, np.inf),
    ):
        if not all(np.isfinite(s) and 0 <= s <= most for s in strengths):
            raise BadData("a strength is a finite number from 0" + (" to 1" if most == 1 else ""), where=name)
    if steps < 1:
        raise BadData("at least one step is needed", where="steps")
    predict(model, x, y, chunk=chunk).require("robustness", two_classes=False)
    twin = frozen(model)
    labels = y.cpu().numpy()
    x, y = x.cpu().clone(), y.cpu()  # a clone records gradients even where x was made under inference_mode

    def on(rows: Tensor) -> Performance:
        return _performance(Predictions(outputs(twin, rows, chunk=chunk).numpy(), labels))

    numbers = _numbers(x, encoding)
    rng = np.random.default_rng(seed)
    draw = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32))
    donors = torch.from_numpy(np.stack([rng.permutation(len(x)) for _ in encoding.codes]))
    luck = torch.from_numpy(rng.random((len(encoding.codes), len(x))))

    missing = {}
    for code, place in zip(encoding.codes, encoding.slices().values(), strict=True):
        gone = x.clone()
        gone[:, place] = missing_code(code)
        missing[code.column] = on(gone)
    moving = bool(numbers.any())

    def curve(strengths: Sequence[float], change: Callable[[float], Tensor]) -> Curve:
        return tuple((float(strength), on(change(strength))) for strength in strengths)

    def attacked(how: Callable[..., Tensor], **options: int) -> Curve:
        try:
            return (
                curve(attack, lambda s: how(twin, x, y, numbers, s * RANGE, chunk=chunk, **options)) if moving else ()
            )
        except UnsupportedModel:  # rounding or a lookup in the model: there is no direction to move along
            return ()

    return Robustness(
        clean=on(x),
        missing=missing,
        noise=curve(noise, lambda s: _within(x, x + draw * (s * RANGE), numbers)) if moving else (),
        corruption=curve(corruption, lambda s: _corrupted(x, encoding, donors, luck < s)),
        fgsm=attacked(fgsm),
        pgd=attacked(pgd, steps=steps),
        steps=steps,
        seed=seed,
        replaced={code.column: _replaced(code) for code in encoding.codes},
    )


def fgsm(model: nn.Module, x: Tensor, y: Tensor, numbers: Tensor, eps: float, *, chunk: int = CHUNK) -> Tensor:
    """One step of ``eps`` along the sign of the gradient, away from the right class (Goodfellow et al. 2015).

    Args:
        model: Of :func:`pellucid.explain.model.frozen`.
        x: (N, width) float32, encoded.
        y: (N,) int64.
        numbers: (N, width) bool, which slots may move: numbers that are not missing.
        eps: Largest change of a slot, in encoded units.
        chunk: Rows a pass.

    Returns:
        (N, width), numbers in [-1, 1], on the CPU.
    """
    return _attack(model, x, y, numbers, eps, 0, chunk)


def pgd(
    model: nn.Module, x: Tensor, y: Tensor, numbers: Tensor, eps: float, *, steps: int = STEPS, chunk: int = CHUNK
) -> Tensor:
    """The worst row among :func:`fgsm`'s and ``steps`` projected steps along the sign of the gradient (Madry 2018).

    Args and return value as of :func:`fgsm`.
    """
    return _attack(model, x, y, numbers, eps, steps, chunk)


def missing_code(code: Code) -> Tensor:
    """(width,) what stands in a row for an unknown value of a column, as far as the schema says.

    That is the declared code of a missing value, else the declared fill, else the declared reference, else the middle
    of the range (a boolean: one half; a category: equal parts of each, the one point that prefers none).
    """
    if code.missing:
        return torch.eye(code.width, dtype=torch.float32)[-1]
    known = code.reference if code.fill is None else code.fill
    if known is not None:
        return code_of(code, known)
    found = torch.zeros(code.width, dtype=torch.float32)
    if code.how in ("onehot", "bins"):
        found[:] = 1 / code.width
    elif code.how == "boolean":
        found[0] = 0.5
    return found


def _replaced(code: Code) -> str:
    if code.missing:
        return "declared code of a missing value"
    if code.fill is not None:
        return "declared fill"
    return "middle of the declared range, or equal parts" if code.reference is None else "declared reference"


def _numbers(x: Tensor, encoding: Encoding) -> Tensor:
    """(N, width) which slots hold a number of somebody for whom it is known."""
    found = torch.zeros(x.shape, dtype=torch.bool)
    for code, place in zip(encoding.codes, encoding.slices().values(), strict=True):
        if code.how in ("linear", "log"):
            found[:, place.start] = x[:, place.start + 1] == 0 if code.missing else True
    return found


def _within(x: Tensor, moved: Tensor, numbers: Tensor) -> Tensor:
    """``moved`` where numbers may move, cut to the declared ranges; elsewhere ``x``."""
    return torch.where(numbers, moved.clamp(-1.0, 1.0), x)


def _corrupted(x: Tensor, encoding: Encoding, donors: Tensor, hit: Tensor) -> Tensor:
    found = x.clone()
    for place, donor, rows in zip(encoding.slices().values(), donors, hit, strict=True):
        found[rows, place] = x[donor[rows], place]
    return found


def _performance(predictions: Predictions) -> Performance:
    labels = predictions.labels
    right = float((predictions.predicted == labels).mean())
    sizes = np.bincount(labels, minlength=predictions.classes)
    two = predictions.classes == 2
    area = auc(predictions.logits, labels == 1) if two else macro_auc(predictions.probability, labels)
    return Performance(rate(right, len(labels)), publish_auc(area, int(sizes.min())))


def _attack(model: nn.Module, x: Tensor, y: Tensor, numbers: Tensor, eps: float, steps: int, chunk: int) -> Tensor:
    if eps == 0:
        return x.clone()
    wrongness = _wrongness(model, two=outputs(model, x[:1]).ndim == 1)

    def work(size: int) -> Tensor:
        done = []
        for start in range(0, len(x), size):
            part, truth, free = (t[start : start + size].to(device_of(model)) for t in (x, y, numbers))
            done.append(_worst(wrongness, part, truth, free, eps, steps).cpu())
        return torch.cat(done)

    with untouched():
        return fitting(min(chunk, len(x)), work)


def _worst(wrongness: _Wrongness, x: Tensor, y: Tensor, free: Tensor, eps: float, steps: int) -> Tensor:
    """FGSM's row; with ``steps``, whichever of it and the projected steps is furthest on the wrong side."""
    low, high = (x - eps).clamp(min=-1.0), (x + eps).clamp(max=1.0)

    def at(row: Tensor) -> tuple[Tensor, Tensor]:
        row = row.detach().requires_grad_()
        wrong = wrongness(row, y)
        if not wrong.requires_grad:
            raise UnsupportedModel("the model has no gradient with respect to its input", where="model", fix=SMOOTH)
        (gradient,) = torch.autograd.grad(wrong.sum(), row)
        return wrong.detach(), gradient.sign()

    def moved(row: Tensor, step: Tensor) -> Tensor:
        return torch.where(free, torch.clamp(row + step, low, high), x)

    _, direction = at(x)
    best = moved(x, eps * direction)
    if not steps:
        return best
    most, _ = at(best)
    row = x
    for _ in range(steps):
        row = moved(row, 2.5 * eps / steps * direction)
        wrong, direction = at(row)
        better = wrong > most
        best, most = torch.where(better[:, None], row, best), torch.where(better, wrong, most)
    return best


def _wrongness(model: nn.Module, *, two: bool) -> _Wrongness:
    """The largest logit of a wrong class less that of the right one, as a function of rows and labels.

    Its gradient has the sign of the cross-entropy's for two classes, and unlike that one does not vanish where the
    model is sure.
    """

    def of(x: Tensor, y: Tensor) -> Tensor:
        found = answered(model, x)
        if two:
            return found * (1 - 2 * y)
        right = nn.functional.one_hot(y, found.shape[1]).bool()
        return found.masked_fill(right, -torch.inf).amax(dim=1) - found[right]

    return of
