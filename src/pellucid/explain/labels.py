"""Which labels are likely wrong, and where is the model surely wrong? The only door to cleanlab.

Rates may be read by auditors. Who the people are stands in evidence for stewards only, and there as keyed identifiers:
whoever lacks the key cannot tell from them who is meant, not even by trying every identifier there is.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pellucid.disclosure import suppressed_groups
from pellucid.errors import BadData, MissingExtra
from pellucid.evidence import Estimate, Evidence, Subject, round_down
from pellucid.explain.intervals import MINIMUM_CELL, ROUNDING, Floats, rate, versions
from pellucid.explain.model import untouched
from pellucid.explain.predictions import Predictions

__all__ = ["LabelErrors", "find_label_errors", "keyed"]

CONFIDENT: Final = 0.9
READING: Final = (
    "a suspect is a hint to look at a record: where the target is noisy or the model weak, most suspects are hard "
    "cases whose label is right"
)
KEY_BYTES: Final = 32
DOMAIN: Final = b"pellucid/person@1\x00"


@dataclass(frozen=True, slots=True)
class LabelErrors:
    """Likely label errors and confident errors among held-out people. ``repr`` shows no identifier and no count.

    Attributes:
        rate: Share of people whose label is likely wrong.
        by_class: That share among the people who bear each label; classes of fewer than ten are suppressed.
        suppressed: The classes that are not in ``by_class``.
        suspects: Keyed identifiers of likely label errors, the least plausible label first.
        confident: Keyed identifiers of people for whom the model is wrong and sure of it, the surest first.
        threshold: Probability above which the model is sure.
        names: Of the classes, in order; empty where nobody named them.
    """

    rate: Estimate
    by_class: Mapping[int, Estimate]
    suppressed: tuple[int, ...]
    threshold: float
    suspects: tuple[str, ...] = field(repr=False)
    confident: tuple[str, ...] = field(repr=False)
    names: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        """The rates: the values of ``labels`` evidence, version 1, for auditors."""
        return {
            "rate": self.rate.values(),
            "classes": [
                {"class": number, **self._name(number), "rate": found.values()}
                for number, found in self.by_class.items()
            ],
            "suppressed": list(self.suppressed),
        }

    def _name(self, number: int) -> dict[str, str]:
        return {"name": self.names[number]} if self.names else {}

    def steward_values(self) -> dict[str, Any]:
        """The rates and the keyed identifiers, for stewards. Counts are rounded down to ten."""
        return {
            **self.values(),
            "suspects": {"n": round_down(len(self.suspects)), "ids": list(self.suspects)},
            "confident_errors": {
                "n": round_down(len(self.confident)),
                "threshold": self.threshold,
                "ids": list(self.confident),
            },
        }

    def how(self) -> Mapping[str, Any]:
        """How the values were made."""
        return {
            "data": "held-out split, probabilities of a model that was not trained on these people",
            "method": "confident learning, pruned by noise rate (Northcutt, Jiang and Chuang 2021, JAIR 70)",
            "reading": READING,
            "rate": f"share of people flagged; {ROUNDING}; the interval does not hold what the method itself misses",
            "ids": "HMAC-SHA-256 over the person's identifier under a key that is not recorded",
            "libraries": versions("cleanlab", "numpy"),
        }

    def evidence(self, subject: Subject) -> Evidence:
        """Evidence about ``subject`` without anybody in it: uncovered, for auditors."""
        return Evidence("labels", subject, self.values(), self.how(), "uncovered", tier="auditor")

    def steward_evidence(self, subject: Subject) -> Evidence:
        """The same evidence with keyed identifiers: for stewards."""
        return Evidence("labels", subject, self.steward_values(), self.how(), "uncovered", tier="steward")


def find_label_errors(
    predictions: Predictions,
    ids: Sequence[str],
    *,
    key: bytes,
    threshold: float = CONFIDENT,
    classes: Sequence[str] = (),
) -> LabelErrors:
    """Likely label errors by confident learning, and confident errors.

    A label is suspected where the model, judged by how sure it usually is of a class, says another class than the
    label. That is a hint to look at a record, not a finding about a person: where the model is weak, so is the hint.

    Args:
        predictions: Of people the model was not trained on: on its training rows it repeats their labels.
        ids: (N,) identifier of each person, no two the same.
        key: At least 32 secret bytes, for the keyed identifiers.
        classes: Names of the classes in order, for a reader; none, or one for each.
        threshold: Probability of a wrong class above which an error is confident, in [0.5, 1).

    Raises:
        BadData: One class only, identifiers that do not match the rows or repeat (none is shown), a short key, or a
            threshold outside [0.5, 1), or names that are not one a class.
        MissingExtra: cleanlab is not installed.
    """
    total = len(predictions)
    if len(key) < KEY_BYTES:
        raise BadData(f"a key has at least {KEY_BYTES} bytes", where="key", fix="secrets.token_bytes(32)")
    if len(ids) != total or not all(isinstance(one, str) for one in ids) or len(set(ids)) != total:
        raise BadData("every row needs an identifier of its own, as text", where="ids")
    if not 0.5 <= threshold < 1:
        raise BadData("a confident error has a probability from 0.5 to below 1", where="threshold")
    if classes and len(classes) != predictions.classes:
        raise BadData(f"{len(classes)} names do not fit {predictions.classes} classes", where="classes")
    sizes = np.bincount(predictions.labels, minlength=predictions.classes)
    if np.count_nonzero(sizes) < 2 or total < 2 * MINIMUM_CELL:
        raise BadData(
            f"label errors need people of two classes, {2 * MINIMUM_CELL} or more in all",
            where="labels",
            fix="hold out a larger share of the data",
        )
    probability = predictions.probability
    if probability.ndim == 1:
        probability = np.stack([1 - probability, probability], axis=1)
    flagged = _issues(predictions.labels, probability)
    own = probability[np.arange(total), predictions.labels]
    top = probability.max(axis=1)
    sure = (predictions.predicted != predictions.labels) & (top > threshold)

    present = {str(number): int(size) for number, size in enumerate(sizes) if size}
    hidden = suppressed_groups(present)
    return LabelErrors(
        rate=rate(float(flagged.mean()), total),
        by_class={
            int(name): rate(float(flagged[predictions.labels == int(name)].mean()), size)
            for name, size in present.items()
            if name not in hidden
        },
        suppressed=tuple(sorted(int(name) for name in hidden)),
        threshold=threshold,
        suspects=_named(flagged, own, ids, key),
        confident=_named(sure, -top, ids, key),
        names=tuple(classes),
    )


def keyed(identifier: str, key: bytes) -> str:
    """HMAC-SHA-256 of ``identifier`` under ``key``, in lower-case hexadecimal: the same person, the same text."""
    return hmac.new(key, DOMAIN + identifier.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _named(chosen: npt.NDArray[np.bool_], order: Floats, ids: Sequence[str], key: bytes) -> tuple[str, ...]:
    rows = np.flatnonzero(chosen)
    return tuple(keyed(ids[row], key) for row in rows[np.argsort(order[rows], kind="stable")].tolist())


def _issues(labels: npt.NDArray[np.int64], probability: Floats) -> npt.NDArray[np.bool_]:
    """(N,) which labels cleanlab holds for wrong. It is kept silent, in this process and off every generator."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), untouched():
        warnings.simplefilter("ignore")  # among them: a class of few people, which is suppressed here anyway
        try:
            from cleanlab.filter import find_label_issues
        except ImportError as error:
            raise MissingExtra(
                "label errors need cleanlab", where="cleanlab", fix="pip install 'pellucid[train]'"
            ) from error
        return np.asarray(find_label_issues(labels, probability, n_jobs=1), dtype=np.bool_)
