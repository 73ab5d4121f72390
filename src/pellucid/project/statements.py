"""What a governed run states of itself: the data, the training, the privacy, the provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from pellucid.evidence import Evidence, Subject
from pellucid.log.entries import Entry
from pellucid.privacy import BoostPlan, Ledger, TuningPlan, accounting
from pellucid.privacy.spending import first_steps
from pellucid.project import data
from pellucid.project.project import stamp

if TYPE_CHECKING:
    import torch

    from pellucid.privacy import AnyPlan
    from pellucid.project.project import Project
    from pellucid.schema import Encoding, Schema
    from pellucid.train import Factory, Recipe

__all__ = ["dataset_evidence", "describe", "privacy_evidence", "provenance_evidence", "training_evidence"]

# of a plan; in its record where they say more
_ROWS: Final = ("unit_rows", "sampling")
_OPTIONS: Final = (
    *("clipping", "mechanism", "bands", "augmentations", "unit_rows", "sampling", "rows"),
    *("columns", "rounds"),
)


def dataset_evidence(sealed: data.Sealed) -> Evidence:
    """What was declared about the data: public knowledge, no count of anybody."""
    schema = sealed.schema
    values = {
        "name": sealed.name,
        "version": sealed.version,
        "units": schema.units,
        "unit": schema.unit,
        **{name: value for name, value in schema.bound().items() if value is not None},
        "target": schema.target,
        "columns": [{"name": c.name, "type": c.type, "sensitivity": c.sensitivity} for c in schema.columns.values()],
        "purposes": list(schema.purposes),
        "retention": schema.retention.isoformat() if schema.retention else None,
        "manifest": sealed.manifest_sha256,
    }
    subject = Subject(sealed.label, sealed.manifest_sha256)
    return Evidence("dataset", subject, values, stamp({"method": "declared by the schema"}), "public")


class Made(Protocol):
    """What a training is stated of: a run, or the trial that a tuning chose."""

    @property
    def project(self) -> Project:
        """Where."""

    @property
    def sealed(self) -> data.Sealed:
        """The data set version."""

    @property
    def encoding(self) -> Encoding:
        """How columns became inputs."""

    @property
    def plan(self) -> AnyPlan:
        """By which the model was trained."""

    @property
    def purpose(self) -> str:
        """What for."""

    @property
    def steps_taken(self) -> int:
        """Of the plan."""


def training_evidence(
    run: Made,
    subject: Subject,
    module: torch.nn.Module,
    *,
    optimizer: Mapping[str, Any],
    recipe: Recipe | None,
    factory: Factory | None,
    lost: Sequence[int],
) -> Evidence:
    """How the model was trained.

    Args:
        run: The run.
        subject: The model.
        module: Its plain module.
        optimizer: As :func:`describe` says.
        recipe: If it was trained by one.
        factory: If one is recorded.
        lost: For each time that the run was resumed, the steps that count as taken and that its weights never saw.
    """
    from pellucid import train

    plan, taken = run.plan, run.steps_taken
    architecture, parameters = train.architecture(module)
    values = {
        "architecture": architecture,
        "parameters": parameters,
        "features": list(run.encoding.features),
        "target": run.encoding.target,
        "classes": list(run.encoding.classes),
        "dataset": {
            "name": run.sealed.name,
            "version": run.sealed.version,
            "sha256": run.sealed.manifest_sha256,
        },
        "purpose": run.purpose,
        "status": "complete" if taken == plan.steps else "stopped",
        "batch": plan.batch,
        "epochs": plan.epochs,
        "test": plan.test,
        "steps": taken,
        **{name: value for name, value in plan.record().items() if name in _OPTIONS},
        **({"resumed": {"times": len(lost), "steps_lost": sum(lost)}} if lost else {}),
        "optimizer": dict(optimizer),
        "recipe": recipe.document() if recipe else None,
        "factory": factory.record() if factory else None,
    }
    how = stamp({"method": _method(plan), "engine": train.ENGINE})
    return Evidence("training", subject, values, how, "post-processing")


def _method(plan: AnyPlan) -> str:
    if isinstance(plan, BoostPlan):
        return "DP boosting of additive tables (Nori et al. 2021, arXiv 2106.09680), everybody in every step"
    name = {"gaussian": "DP-SGD (Abadi et al. 2016)", "banded": "banded matrix factorisation (arXiv 2306.08153)"}
    drawn = {"user": " of people, whose mean gradient is clipped as one", "example": " of rows, each clipped alone"}
    of = drawn[plan.sampling] if plan.unit_rows > 1 else ""
    return f"{name[plan.mechanism]}, Poisson sampling{of}, {plan.clipping.replace('_', ' ')} clipping"


def privacy_evidence(
    plan: AnyPlan | TuningPlan, subject: Subject, schema: Schema, *, taken: int | None = None, hold: float = 0.0
) -> Evidence:
    """What the model claims: the epsilon of the plan that was reserved, however many of its steps were taken.

    Of a run that was stopped after ``taken`` steps, the epsilon of these stands beside it as ``odometer``: no claim,
    since who stopped may have looked, and no requirement can read it. Of a tuning, nothing of the end was recorded
    before ``hold`` seconds had passed.
    """
    part = first_steps(plan.events, taken) if taken is not None and 0 < taken < plan.steps else []
    second = accounting.second_opinion(plan.events, plan.delta)
    rows: dict[str, Any] = {}
    if schema.unit != "row":
        base = plan.base if isinstance(plan, TuningPlan) else plan
        rows = {"unit_rows": 1} if isinstance(base, BoostPlan) else {n: getattr(base, n) for n in _ROWS}
    values = {
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "noise_multiplier": plan.noise_multiplier,
        "sample_rate": plan.sample_rate,
        "steps": plan.steps,
        "max_grad_norm": plan.clip,
        "adjacency": accounting.ADJACENCY,
        "unit": schema.unit,
        **rows,
        "accountant": accounting.claimant(plan.events),
        **({"second_opinion": second} if second else {}),  # where nobody else can, it is unmeasured
        "epsilon_at": accounting.epsilon_at(plan.events, plan.delta),
        "curve": [list(point) for point in accounting.curve(plan.events, plan.delta)],
        "events": plan.events,
        **({"odometer": {"steps": taken, "epsilon": accounting.epsilon(part, plan.delta)}} if part else {}),
        **({"tuning": _tuning(plan, hold)} if isinstance(plan, TuningPlan) else {}),
    }
    return Evidence("privacy", subject, values, stamp(accounting.how(plan.events)), "public")


def _tuning(plan: TuningPlan, hold: float) -> dict[str, Any]:
    """What binds the events to the plan of a trial; all of it was registered before the first."""
    return {
        "distribution": plan.distribution,
        "trials": plan.trials,
        "score_noise": plan.score_noise,
        "trial": plan.trial,
        "hold": hold,
    }


def provenance_evidence(run: Made, subject: Subject, *, reservation: int, factory: Factory | None) -> Evidence:
    """Who made the model, under which rules, from which reservation (an index in the log), with which software."""
    from pellucid import train

    project = run.project
    values = {
        "identity": project.acting,
        "roles": sorted(project.roles()),
        "key_release": "member",
        "policy": {"sha256": project.policy.sha256, "schema_sha256": project.policy.schema_sha256},
        "reservation": reservation,
        **({"factory": factory.spec} if factory else {}),
        "versions": train.versions(),
        "decisions": _decisions(project.counted(), run.sealed.name),
        "ledger": dict(Ledger.fold(project.counted(), run.sealed.name).document()),
    }
    return Evidence("provenance", subject, values, stamp({"method": "read from the log"}), "public", tier="auditor")


def describe(optimizer: Any) -> dict[str, Any]:
    """The optimizer as a training statement names it."""
    group = optimizer.param_groups[0]
    return {
        "name": type(optimizer).__name__,
        "learning_rate": float(group["lr"]),
        **({"momentum": float(group["momentum"])} if group.get("momentum") else {}),
    }


def _decisions(entries: Sequence[Entry], dataset: str, most: int = 40) -> list[dict[str, Any]]:
    """The last decisions about a data set, for the report: who asked for what, and what the policy said."""
    found = []
    for entry in entries:
        if entry.kind != "decision":
            continue
        name = str(entry.body["resource"]["name"])
        if name.split("/")[0].split("@")[0] == dataset:
            kept = ("at", "identity", "roles", "action", "resource", "purpose", "allowed", "policies", "reason")
            found.append({"index": entry.index, **{key: entry.body[key] for key in kept}})
    return found[-most:]
