"""From records to events: everything is checked, and nothing skipped."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, Final

from pellucid.errors import Unverified, nearest
from pellucid.privacy.events import (
    KINDS,
    MAX_COUNT,
    MAX_EVENTS,
    NOISE_RANGE,
    AnyEvent,
    Event,
    Laplace,
    MixtureOfGaussians,
    RepeatAndSelect,
    TruncatedPoisson,
    merged,
)

__all__ = ["MAX_PARTS", "parse_events"]

MAX_PARTS: Final = 64
"""Most cases in one mixture of Gaussians."""
MAX_MEAN: Final = 1e6
"""Largest expected number of runs to select from, and largest finite shape of its distribution."""
_MAX_UNITS: Final = 10**12
_MAX_SENSITIVITY: Final = 1e6
_DECIMAL: Final = re.compile(r"(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,48})?")
_PROBABILITY: Final = re.compile(r"(?:0|1)(?:\.[0-9]{1,120})?")


def parse_events(records: Iterable[Mapping[str, Any]], *, where: str = "events") -> tuple[AnyEvent, ...]:
    """The events in ``records``: equal mechanisms merged, in a canonical order, so that lists that mean the same have
    one parse.

    Raises:
        Unverified: No event, too many, an unknown kind (refused, never skipped), an unknown or missing field, a
            number that is not a plain decimal string in range, or a count that is not a positive integer.
    """
    return _parse(records, where, selecting=False)


def _parse(records: Any, where: str, *, selecting: bool) -> tuple[AnyEvent, ...]:
    if isinstance(records, str | bytes | Mapping) or not isinstance(records, Iterable):
        raise Unverified("events must be a list", where=where)
    found: list[AnyEvent] = []
    for index, record in enumerate(records):
        if index >= MAX_EVENTS:
            raise Unverified(f"more than {MAX_EVENTS} events", where=where)
        found.append(_event(record, f"{where}[{index}]", selecting=selecting))
    if not found:
        raise Unverified("no event: nothing was accounted", where=where)
    events = merged(found)
    if any(event.count > MAX_COUNT for event in events):
        raise Unverified(f"more than {MAX_COUNT} steps", where=where)
    return events


def _event(record: Any, where: str, *, selecting: bool) -> AnyEvent:
    if not isinstance(record, Mapping):
        raise Unverified("an event must be a table", where=where)
    kind = record.get("kind")
    if kind not in KINDS:
        raise Unverified(
            f'unknown kind of event "{kind}"{nearest(str(kind), KINDS)}',
            where=where,
            fix="what cannot be accounted cannot be claimed; verify with a Pellucid that knows this kind",
        )
    if kind == "repeat_and_select" and selecting:
        raise Unverified("a selection among selections is not accounted", where=where)
    fields, read = _KINDS[kind]
    if set(record) != {"kind", "count", *fields}:
        names = ", ".join(sorted(["kind", "count", *fields]))
        raise Unverified(f"an event of kind {kind} has exactly the fields {names}", where=where)
    return read(record, _whole(record, "count", 1, MAX_COUNT, where), where)


def _noise(record: Mapping[str, Any], where: str) -> float:
    return _decimal(record["noise_multiplier"], *NOISE_RANGE, f"{where}.noise_multiplier")


def _rate(record: Mapping[str, Any], where: str) -> float:
    return _decimal(record["sample_rate"], 0.0, 1.0, f"{where}.sample_rate")


def _gaussian(record: Mapping[str, Any], count: int, where: str) -> Event:
    return Event(1.0, _noise(record, where), count)


def _poisson(record: Mapping[str, Any], count: int, where: str) -> Event:
    return Event(_rate(record, where), _noise(record, where), count)


def _banded(record: Mapping[str, Any], count: int, where: str) -> Event:
    return Event(_rate(record, where), _noise(record, where), count, _whole(record, "bands", 2, MAX_COUNT, where))


def _laplace(record: Mapping[str, Any], count: int, where: str) -> Laplace:
    return Laplace(_noise(record, where), count)


def _truncated(record: Mapping[str, Any], count: int, where: str) -> TruncatedPoisson:
    units = _whole(record, "units", 1, _MAX_UNITS, where)
    most = _whole(record, "most", 1, units, where)
    return TruncatedPoisson(_rate(record, where), _noise(record, where), units, most, count)


def _mixture(record: Mapping[str, Any], count: int, where: str) -> MixtureOfGaussians:
    columns = []
    for name, high, form in (
        ("sensitivities", _MAX_SENSITIVITY, _DECIMAL),
        ("probabilities", 1.0, _PROBABILITY),
    ):
        texts = record[name]
        if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_PARTS:
            raise Unverified(f"this must be a list of 1 to {MAX_PARTS}", where=f"{where}.{name}")
        columns.append([_decimal(text, 0.0, high, f"{where}.{name}[{i}]", form) for i, text in enumerate(texts)])
    sensitivities, probabilities = columns
    if len(sensitivities) != len(probabilities):
        raise Unverified("there must be one probability for each sensitivity", where=where)
    if any(a >= b for a, b in itertools.pairwise(sensitivities)):
        raise Unverified("sensitivities must rise", where=f"{where}.sensitivities")
    if sum(map(Fraction, probabilities)) > 1:
        raise Unverified("the probabilities add up to more than 1", where=f"{where}.probabilities")
    return MixtureOfGaussians(_noise(record, where), tuple(zip(sensitivities, probabilities, strict=True)), count)


def _selection(record: Mapping[str, Any], count: int, where: str) -> RepeatAndSelect:
    events = _parse(record["events"], f"{where}.events", selecting=True)
    mean = _decimal(record["mean"], 1.0, MAX_MEAN, f"{where}.mean")
    if record["shape"] == "poisson":
        shape = math.inf
    elif record["shape"] == "0":
        shape = 0.0
    else:
        shape = _decimal(record["shape"], 0.0, MAX_MEAN, f"{where}.shape")
    return RepeatAndSelect(events, mean, shape, count)


_Read = Callable[[Mapping[str, Any], int, str], AnyEvent]
# kind -> the fields it has beside kind and count, and what reads them
_KINDS: Final[Mapping[str, tuple[tuple[str, ...], _Read]]] = {
    "poisson_gaussian": (("sample_rate", "noise_multiplier"), _poisson),
    "banded_gaussian": (("sample_rate", "noise_multiplier", "bands"), _banded),
    "gaussian": (("noise_multiplier",), _gaussian),
    "laplace": (("noise_multiplier",), _laplace),
    "truncated_poisson_gaussian": (("sample_rate", "noise_multiplier", "units", "most"), _truncated),
    "mixture_gaussian": (("noise_multiplier", "sensitivities", "probabilities"), _mixture),
    "repeat_and_select": (("events", "mean", "shape"), _selection),
}


def _whole(record: Mapping[str, Any], name: str, least: int, most: int, where: str) -> int:
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Unverified(f"{name} must be an integer from {least} to {most}", where=where)
    return value


def _decimal(text: Any, low: float, high: float, where: str, form: re.Pattern[str] = _DECIMAL) -> float:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise Unverified('this must be a plain decimal string such as "0.0125"', where=where)
    number = float(text)
    if not (math.isfinite(number) and number > 0 and low <= number <= high):
        raise Unverified(f"this must be above 0 and within [{low:g}, {high:g}]", where=where)
    return number
