"""The guarantee in words: what NIST SP 800-226 (2025) asks whoever claims differential privacy to say. Pure functions.

It asks for the unit, who counts as a neighbour, epsilon and delta, how the data was really sampled, what trusts whom,
and what the guarantee does not cover. Everything is said from the values of the evidence, so that who reads the report
and who verifies it read one statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["TOPICS", "Sentence", "guarantee"]

TOPICS: Final = ("promise", "unit", "neighbours", "strength", "sampling", "noise", "accounting", "trust", "not covered")
"""What is said, in this order; a topic may have several sentences."""

_NEIGHBOURS: Final = {
    "add-or-remove-one": "Two data sets are neighbours if one has one {unit} more than the other.",
    "replace-one": "Two data sets are neighbours if one {unit} of the one is another {unit} in the other.",
}
_SAMPLING: Final = {
    "gaussian": "Everybody was in every one of {count} steps; nothing was sampled, and no amplification is claimed.",
    "poisson_gaussian": "In each of {count} steps every {unit} was drawn on its own with chance {rate} (Poisson"
    " sampling, as it was run; shuffled batches would not have this guarantee).",
    "banded_gaussian": "Every {unit} was put into one of {bands} groups at random; in each of {count} steps a Poisson"
    " sample of one group was drawn, with noise that is correlated over {bands} steps.",
    "laplace": "{count} numbers were released with Laplace noise; everybody was in each of them.",
    "truncated_poisson_gaussian": "In each of {count} steps every {unit} was drawn with chance {rate}, and of a sample"
    " of more than {most} a random {most} were kept.",
    "mixture_gaussian": "In each of {count} steps every row was drawn on its own; a {unit} may have up to {rows} of"
    " them, and is protected with all of them.",
    "repeat_and_select": "The best of a random number of runs, {mean} on average, was released; the number was drawn"
    " before the first run, and {shown}",
}
_HELD: Final = (
    "neither it nor the other runs were shown to anybody: the end was not recorded before a time that was fixed"
    " beforehand, {hold:g} seconds after the beginning, so that how long it took tells nothing if the runs took less."
)
_NOT_HELD: Final = (
    "the other runs were shown to nobody; but how long it took is in the log and tells about how many runs there were,"
    " which the epsilon does not count."
)
_NOT_COVERED: Final = (
    "Numbers measured on held-out people, such as accuracy, unless they are marked as releases of their own.",
    "What was done with the data outside of Pellucid, and data sets of the same people that it was not told about.",
    "Groups: for k {units} together, epsilon is up to k times as large.",
    "What is true of people whether or not they are in the data: a model may reveal that, and is meant to.",
    "Time and memory that a training takes, and a computer on which somebody else reads along.",
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the statement, and what it is about, a name of :data:`TOPICS`."""

    topic: str
    text: str


def guarantee(privacy: Mapping[str, Any], training: Mapping[str, Any] | None = None) -> tuple[Sentence, ...]:
    """The statement of the guarantee that the values of a ``privacy`` statement make.

    Args:
        privacy: Values of the evidence; only what is there is said.
        training: Values of the ``training`` evidence, for what was trained and whether it ran to the end.
    """
    unit = _unit(privacy)
    words = {"unit": unit, "units": f"{unit}s" if unit != "person" else "people"}
    epsilon, delta = privacy["epsilon"], privacy["delta"]
    found = [
        Sentence(
            "promise",
            f"Whoever sees the released result, and whatever else they know, learns little more about any one {unit}"
            f" than if that {unit} had not been in the data: ({epsilon:g}, {delta:g})-differential privacy.",
        ),
        Sentence("unit", _unit_sentence(privacy, unit)),
        Sentence("neighbours", _NEIGHBOURS.get(str(privacy["adjacency"]), str(privacy["adjacency"])).format(**words)),
        Sentence("strength", _strength(privacy)),
    ]
    for event in privacy["events"]:
        found += _sampled(event, {**words, "shown": _shown(privacy)})
    found += [Sentence("noise", text) for text in _noise(privacy)]
    found += [Sentence("accounting", text) for text in _accounting(privacy)]
    if training is not None and training.get("status") == "stopped":
        found.append(
            Sentence(
                "accounting",
                "The run was stopped early. The claim is that of the whole plan that was reserved, since who stopped"
                " may have looked.",
            )
        )
    found.append(
        Sentence(
            "trust",
            "Central model: whoever held the keys to the data and the machine it was trained on is trusted; whoever"
            " receives the result is not.",
        )
    )
    found += [Sentence("not covered", text.format(**words)) for text in _NOT_COVERED]
    return tuple(found)


def _unit(privacy: Mapping[str, Any]) -> str:
    return "row" if privacy.get("unit") == "row" else "person"


def _unit_sentence(privacy: Mapping[str, Any], unit: str) -> str:
    if unit == "row":
        return "The unit of privacy is a row; the schema declares that every row is another person."
    rows = privacy.get("unit_rows")
    most = f", with at most {rows} rows" if isinstance(rows, int) and rows > 1 else ""
    return f'The unit of privacy is a person, named by the column "{privacy.get("unit")}"{most}.'


def _strength(privacy: Mapping[str, Any]) -> str:
    epsilon, delta = privacy["epsilon"], privacy["delta"]
    text = f"Epsilon is {epsilon:g} at delta {delta:g}"
    others = [(d, e) for d, e in (privacy.get("epsilon_at") or {}).items() if float(d) != delta]
    if others:
        text += "; the same mechanism is also " + ", ".join(f"{e:g} at {float(d):g}" for d, e in others)
    return f"{text}."


def _sampled(event: Mapping[str, Any], words: Mapping[str, str]) -> list[Sentence]:
    kind = event["kind"]
    said = _SAMPLING.get(kind, f"{{count}} steps of {kind}.")
    facts = {**words, "count": event["count"], "rate": _short(event.get("sample_rate", "1"))}
    facts |= {"rows": len(event.get("sensitivities", ())), "mean": event.get("mean", "")}
    facts |= {name: event.get(name, "") for name in ("bands", "most")}
    inner = [sentence for one in event.get("events", ()) for sentence in _sampled(one, words)]
    return [Sentence("sampling", said.format(**facts)), *inner]


def _shown(privacy: Mapping[str, Any]) -> str:
    """What showed of how many runs there were, in a tuning; where nothing is said of a hold there was none."""
    hold = (privacy.get("tuning") or {}).get("hold", 0.0)
    return _HELD.format(hold=hold) if hold > 0 else _NOT_HELD


def _short(text: str) -> str:
    return f"{float(text):.4g}"


def _noise(privacy: Mapping[str, Any]) -> list[str]:
    return [
        f"What a unit adds to a step was bounded to norm {privacy['max_grad_norm']:g} and Gaussian noise of"
        f" {privacy['noise_multiplier']:g} times that was added, from a cryptographic generator."
    ]


def _accounting(privacy: Mapping[str, Any]) -> list[str]:
    names = {"pld": "privacy loss distributions", "rdp": "Rényi differential privacy"}
    by = names.get(str(privacy["accountant"]), str(privacy["accountant"]))
    second = privacy.get("second_opinion")
    if isinstance(second, Mapping):
        other = names.get(str(second.get("accountant")), str(second.get("accountant")))
        return [f"Composed by {by}, rounded up; {other} finds {second.get('epsilon'):g}, as a second opinion."]
    return [f"Composed by {by}, rounded up; no second accountant can compose these events."]
