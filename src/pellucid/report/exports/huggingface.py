"""A Hugging Face model card: front matter that their hub reads, and a page that sends its reader to the evidence."""

from __future__ import annotations

import html
import json
from typing import Any, Final

from pellucid.report.exports.statements import Statements
from pellucid.report.figures import exact, plain

__all__ = ["huggingface"]

_METRICS: Final = {
    "auc": "roc_auc",
    "accuracy": "accuracy",
    "brier": "brier_score",
    "ece": "expected_calibration_error",
}
_TASKS: Final = {"image": "image-classification", "audio": "audio-classification", "text": "text-classification"}
_PEOPLE: Final = (
    ("Intended use", "intended_use", "purpose"),
    ("Users", "intended_use", "users"),
    ("Out of scope", "intended_use", "ruled_out"),
    ("Known limits", "limits", "known"),
    ("Remaining risks", "limits", "accepted"),
    ("Contact", "owner", "contact"),
)


def huggingface(statements: Statements) -> bytes:
    """The card as ``README.md``: front matter in YAML (written in its JSON subset), then Markdown.

    No licence is named, for that is for people to choose; the hub then shows none.
    """
    front = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in _front(statements).items()]
    return "\n".join(["---", *front, "---", "", *_page(statements), ""]).encode("utf-8")


def _front(statements: Statements) -> dict[str, Any]:
    name = statements.subject.name
    dataset, task = statements.of("dataset"), _task(statements)
    found = [each for each in statements.estimates() if not each.group and each.name in _METRICS]
    metrics = [
        {
            "type": _METRICS[each.name],
            "value": each.value,
            "name": f"{each.name} on {each.n} held-out people (95 %: {each.low} to {each.high})",
            "verified": False,  # the hub's word for: measured by the hub itself
        }
        for each in found
    ]
    about = f"{dataset.get('name', 'unknown')}@{dataset.get('version', 'unknown')}"
    result = {
        "task": {"type": task},
        "dataset": {"type": str(dataset.get("name", "unknown")), "name": about, "split": "test"},
        "metrics": metrics,
    }
    front: dict[str, Any] = {
        "model_name": name,
        "pipeline_tag": task,
        "tags": ["pellucid", *(["differential-privacy"] if statements.of("privacy") else [])],
    }
    if metrics:
        front["metrics"] = [metric["type"] for metric in metrics]
        front["model-index"] = [{"name": name, "results": [result]}]
    return front


def _task(statements: Statements) -> str:
    """The hub's name of the task, from the declared types of the features."""
    types = {column["name"]: column["type"] for column in statements.of("dataset").get("columns", ())}
    used = {types.get(name) for name in statements.of("training").get("features", ())}
    return next((task for kind, task in _TASKS.items() if kind in used), "tabular-classification")


def _page(statements: Statements) -> list[str]:
    training, privacy, attack = (statements.of(kind) for kind in ("training", "privacy", "attack"))
    lines = [f"# {_words(statements.subject.name)}", ""]
    lines += [f"SHA-256 of the weights: `{statements.subject.sha256}`", ""]
    lines += ["## What people say", "", "| | |", "|---|---|"]
    lines += [f"| {title} | {_words(statements.said(*where)) or '*missing*'} |" for title, *where in _PEOPLE]
    lines += ["", "## What the evidence says", "", "| | |", "|---|---|"]
    facts = (
        ("Architecture", training.get("architecture")),
        ("Trained on", _data(training)),
        ("Purpose", training.get("purpose")),
        ("Privacy loss ε, at most", privacy.get("epsilon")),
        ("at δ", privacy.get("delta")),
        ("Privacy unit", privacy.get("unit")),
        ("Privacy loss ε, at least (attack)", attack.get("epsilon_lower")),
    )
    lines += [f"| {title} | {_value(value)} |" for title, value in facts]
    lines += [
        f"| {each.name} | {exact(each.value)} ({exact(each.low)} to {exact(each.high)}) on {exact(each.n)} people |"
        for each in statements.estimates()
        if not each.group
    ]
    lines += ["", "Numbers on held-out people are covered as follows: "]
    lines[-1] += "; ".join(sorted({each.coverage for each in statements.estimates()})) or "none was measured"
    lines[-1] += "."
    lines += ["", "## Verify", "", "The signed evidence is in `bundle.json`:", "", "```"]
    lines += ["pellucid verify bundle.json --key owner.pub --weights weights.safetensors", "```"]
    return lines


def _data(training: Any) -> str | None:
    named = training.get("dataset")
    return f"{named['name']}@{named['version']}" if named else None


def _value(value: Any) -> str:
    if value is None:
        return "*not measured*"
    return exact(value) if isinstance(value, int | float) else _words(str(value))


def _words(text: str) -> str:
    """Text of others in a table of Markdown: no markup, no new row, nothing that does not show."""
    safe = html.escape(plain(" ".join(text.split())), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+!|~" else letter for letter in safe)
