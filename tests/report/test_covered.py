"""What people set is public, whatever is measured beside it; what a private tuning chose is post-processing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pellucid.evidence import Evidence
from pellucid.report.blocks import Figure, Table
from pellucid.report.model import view

Make = Callable[..., Any]
BEFORE = {"name": "credit-risk@0", "sha256": "0" * 64}


def cells(report: Any, section: str, key: str) -> dict[str, Any]:
    part = next(s for s in view(report).sections if s.id == section)
    tables = [b.table if isinstance(b, Figure) else b for b in part.blocks]
    found = next(b for b in tables if isinstance(b, Table) and b.id == key)
    return {row[0].text: row[1] for row in found.rows}


def with_more(sample: Make, *more: Evidence) -> Any:
    return sample(evidence=(*sample().evidence, *more))


def tuned(report: Any, space: Any) -> Evidence:
    return Evidence("tuning", report.subject, {"distribution": "geometric", "space": space}, {}, "public")


def test_constants_of_the_recipe_are_public_and_nothing_of_them_is_called_a_weight(sample: Make) -> None:
    for key in ("model-facts", "model-recipe"):
        numbers = {name: cell for name, cell in cells(sample(), "model", key).items() if cell.coverage}
        assert len(numbers) >= 5
        assert {cell.coverage for cell in numbers.values()} == {("public",)}, numbers


def test_what_a_tuning_chose_is_post_processing_and_the_rest_of_the_recipe_is_not(sample: Make) -> None:
    report = with_more(sample, tuned(sample(), {"train.learning_rate": [0.1, 0.5], "model.hidden": [[32], [64]]}))
    facts, recipe = cells(report, "model", "model-facts"), cells(report, "model", "model-recipe")
    chosen = {"train.learning_rate", "model.hidden"}
    assert {name for name, cell in recipe.items() if "post-processing" in cell.coverage} == chosen
    assert facts["Learning rate"].coverage == facts["Parameters"].coverage == ("post-processing",)
    assert facts["Epochs"].coverage == facts["Steps"].coverage == ("public",)


def test_where_a_tuning_does_not_say_what_varied_every_number_may_have(sample: Make, make_evidence: Make) -> None:
    privacy = make_evidence("privacy", values={"tuning": {"distribution": "geometric", "trials": 3}})
    report = with_more(sample, privacy)
    assert {c.coverage for c in cells(report, "model", "model-recipe").values() if c.coverage} == {("post-processing",)}


def test_the_delta_and_confidence_of_an_attack_are_settings_and_its_bound_is_not(sample: Make) -> None:
    rows = cells(sample(), "privacy", "attack-facts")
    assert rows["Delta of the bound"].coverage == rows["Confidence of the bound"].coverage == ("public",)
    assert rows["Epsilon (lower bound from the attack)"].coverage == ("uncovered",)


def test_a_seed_is_public_and_a_number_of_people_beside_it_is_covered_as_its_evidence_is(
    sample: Make, make_evidence: Make
) -> None:
    how = {"method": "m", "seed": 0, "classes": 2, "n": 9600, "walks": {"seed": 1}}
    rows = cells(with_more(sample, make_evidence("evaluation", how=how)), "performance", "how-evaluation")
    covered = {name: cell.coverage for name, cell in rows.items()}
    assert covered["seed"] == covered["classes"] == covered["walks.seed"] == ("public",)
    assert covered["n"] == ("uncovered",)


def test_a_change_prints_counts_whole_and_covers_each_number_as_its_own_evidence_does(sample: Make) -> None:
    before = {
        "training.steps": 400,
        "privacy.epsilon": 2.9994,
        "evaluation.auc": {"value": 0.9, "low": 0.89, "high": 0.91},
    }
    change = Evidence("change", sample().subject, {"since": BEFORE, "before": before}, {}, "uncovered")
    part = next(s for s in view(with_more(sample, change)).sections if s.id == "change")
    table = next(b for b in part.blocks if isinstance(b, Table) and b.id == "change")
    rows = {row[0].text: row[1:] for row in table.rows}
    assert [cell.text for cell in rows["Steps"]] == ["400", "438", "+38"]
    assert [cell.text for cell in rows["Privacy loss ε, at most"]] == ["2.9994", "2.999871", "+0.000471"]
    assert {cell.coverage for cell in (*rows["Steps"], *rows["Privacy loss ε, at most"])} == {("public",)}
    assert {cell.coverage for cell in rows["AUC"]} == {("uncovered",)}
