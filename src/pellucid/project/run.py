"""One governed training: decision, reservation, steps, evidence, settlement."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from pellucid.errors import BadPlan, Misuse, PellucidError
from pellucid.evidence import Evidence, Subject
from pellucid.keys import identity_name
from pellucid.log.entries import Entry, seal_record
from pellucid.privacy import Ledger, Plan, accounting
from pellucid.project import data
from pellucid.project.project import Project, stamp
from pellucid.schema import Encoding

if TYPE_CHECKING:
    import torch

    from pellucid.project.model import Trained
    from pellucid.train import Batches, PrivateModel, PrivateOptimizer, Recipe

__all__ = ["Run", "abandoned", "unfinished"]


class Run:
    """A governed run, as a context manager.

    Entering decides ``train``, reserves the whole plan in the data set's ledger, and only then decrypts. Leaving
    settles: with the steps taken if the run was cut short, as complete otherwise. The epsilon that the model claims is
    that of the reserved plan, however many steps were taken.

    Attributes:
        label: The model's name, such as ``credit-risk@1``.
        plan: The plan that was reserved.
        encoding: How the declared columns become the model's inputs (``encoding.width`` numbers a row).
    """

    def __init__(
        self,
        project: Project,
        name: str,
        *,
        data: str,
        purpose: str,
        plan: Plan,
        factory: str | None = None,
        features: Sequence[str] | None = None,
        recipe: Recipe | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        identity_name(name)
        self.project = project
        self._plan = plan
        self.purpose = purpose
        self.label = name
        self._name = name
        self._data_name = data
        self._features = features
        self._factory = factory
        self._recipe = recipe
        self._on_step = on_step
        self._reservation: str | None = None
        self._lock: TextIO | None = None
        self._session: Batches | None = None
        self._trained: Trained | None = None
        self._settled = False

    def __repr__(self) -> str:
        return f"Run({self.label!r})"

    @property
    def plan(self) -> Plan:
        """The plan that was reserved. It cannot be exchanged for another."""
        return self._plan

    # -- entering and leaving -----------------------------------------------------------------------------------------

    def __enter__(self) -> Run:
        from pellucid.train import load_factory

        if self._reservation is not None:
            raise Misuse("a run is entered once", fix="call project.run again: every training is a reservation")

        sealed = data.dataset(self.project, self._data_name)
        if self.plan.units != sealed.schema.units:
            raise BadPlan(
                f"the plan counts {self.plan.units} people and the data set declares {sealed.schema.units}",
                where="plan.units",
                fix=f"calibrate the plan with units={sealed.schema.units}",
            )
        if sealed.schema.unit != "row":
            raise BadPlan(
                f"people may have several rows here (unit {sealed.schema.unit}), and this plan protects one row",
                where="plan",
                fix='keep one row a person and declare unit = "row"',
            )
        cost = accounting.epsilon(self.plan.events, self.plan.delta)
        if self.plan.epsilon < cost:
            raise BadPlan(
                f"the plan claims epsilon {self.plan.epsilon:g} and its events cost {cost:g}",
                where="plan.epsilon",
                fix="make the plan with Plan.calibrate or Plan.of",
            )
        self.encoding = Encoding.of(sealed.schema, self._features)
        if len(self.encoding.classes) != 2:
            raise Misuse("training needs a target with two classes for now", fix="declare a category with two values")
        self._source = load_factory(self._factory, self.project.layout.root) if self._factory else None
        self.sealed = sealed
        self.project.decide("train", sealed.resource(), self.purpose)
        self._reserve()
        try:
            self._load()
        except BaseException:
            self._settle("stopped", 0)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        steps = self.steps_taken
        try:
            if error is None and self._session is not None and steps > 0:
                self.finish()
        finally:
            self._settle("complete" if steps == self.plan.steps else "stopped", steps)

    @property
    def steps_taken(self) -> int:
        """Steps in which noise was added and weights moved."""
        return self._session.steps_taken if self._session is not None else 0

    def _reserve(self) -> None:
        """Write the whole plan into the ledger, in one transaction with the look at what is left."""
        project, plan, name = self.project, self.plan, self.sealed.name
        reservation = secrets.token_hex(8)
        self._lock = _lock(project, reservation)
        try:
            with project.writing() as writer:
                entries = project.counted()
                Ledger.fold(entries, name).admit(plan)
                self.label = f"{self._name}@{_next_version(entries, self._name)}"
                fields = {
                    "reservation": reservation,
                    "dataset": name,
                    "run": self.label,
                    "plan": plan.record(),
                    "events": plan.events,
                    "epsilon": plan.epsilon,
                    "delta": plan.delta,
                    "purpose": self.purpose,
                }
                self._index = writer.append(seal_record("reserve", fields, project.identity.signing, project.moment()))
        except BaseException:
            _unlock(project, reservation, self._lock)
            raise
        self._reservation = reservation

    def _settle(self, status: str, steps: int) -> None:
        if self._settled or self._reservation is None:
            return
        self._settled = True
        self.project.record("settle", reservation=self._reservation, status=status, steps=steps)
        if self._lock is not None:
            _unlock(self.project, self._reservation, self._lock)

    def _load(self) -> None:
        """Decrypt what the model learns from; which columns, is decided and recorded one group at a time."""
        from pellucid import train
        from pellucid.vault import in_test

        names = [*self.encoding.features, self.encoding.target]
        table = data.read(self.project, self.sealed.label, names, purpose=self.purpose, tags=True)
        test = in_test(table.column(data.TAG).to_numpy(), self.plan.test)
        x = train.encode_features(table, self.encoding)
        y = train.encode_target(table, self.encoding)
        self._x, self._y, self._test = x, y, test

    # -- training -----------------------------------------------------------------------------------------------------

    def private(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[PrivateModel, PrivateOptimizer, Batches]:
        """Make model and optimizer private, and the batches they learn from.

        The loop stays the user's own::

            for x, y in batches:
                optimizer.zero_grad()
                loss_fn(model(x), y).backward()
                optimizer.step()

        Args:
            model: Takes (B, ``encoding.width``) float32 and gives logits (B, classes).
            optimizer: Over all trainable parameters of ``model``.

        Returns:
            The wrapped model and optimizer, and an iterator of Poisson batches ``(x, y)`` that ends with the plan.

        Raises:
            UnsupportedModel: The model couples examples, learns from data in a buffer, or cannot be clipped.
            Misuse: Called twice, or outside the ``with`` block.
        """
        from pellucid import train

        if self._reservation is None or self._settled:
            raise Misuse("run.private belongs inside the with block of the run")
        if self._session is not None:
            raise Misuse(
                "run.private was called already: one run trains one model with one optimizer",
                fix="put all parameters into one optimizer, or open a second run",
            )
        import torch

        self._optimizer = _describe(optimizer)
        rows = torch.from_numpy(~self._test)
        total = self.plan.steps
        on_step = self._on_step
        self._model, wrapped, self._session = train.private(
            model,
            optimizer,
            self.plan,
            self._x[rows],
            self._y[rows],
            on_step=(lambda step: on_step(step, total)) if on_step else None,
        )
        return self._model, wrapped, self._session

    def finish(self) -> Trained:
        """End training: save the weights and leave the evidence of how they were made. Called by the first verb
        that needs the model, and at the latest when the run ends.

        Raises:
            Misuse: Nothing was trained.
        """
        if self._trained is not None:
            return self._trained
        if self._session is None or self.steps_taken == 0:
            raise Misuse("nothing was trained in this run yet", fix="call run.private and take at least one step")
        from pellucid import train
        from pellucid.project.model import Trained

        self._session.close()
        module = train.standard(self._model)
        folder = self.project.layout.model(self.label)
        folder.mkdir(parents=True, exist_ok=True)
        sha256 = train.save(module, folder / "weights.safetensors")
        subject = Subject(self.label, sha256)
        self.project.publish(
            [
                dataset_evidence(self.sealed),
                self._training_evidence(subject, module),
                self._privacy_evidence(subject),
                self._provenance_evidence(subject),
            ]
        )
        self._trained = Trained(
            project=self.project,
            subject=subject,
            module=module,
            sealed=self.sealed,
            encoding=self.encoding,
            purpose=self.purpose,
            test=self.plan.test,
            delta=self.plan.delta,
            loaded=(self._x, self._y, self._test),
        )
        return self._trained

    def evaluate(self) -> None:
        """Leave evidence of performance, calibration and, where special columns may be read, of fairness."""
        self.finish().evaluate()

    def explain(self) -> None:
        """Leave evidence of what the model looks at, and of whether that explanation holds."""
        self.finish().explain()

    def attack(self) -> None:
        """Leave evidence of what a membership attack finds: a lower bound beside the claimed epsilon."""
        self.finish().attack()

    # -- evidence -----------------------------------------------------------------------------------------------------

    def _training_evidence(self, subject: Subject, module: torch.nn.Module) -> Evidence:
        from pellucid import train

        plan, taken = self.plan, self.steps_taken
        architecture, parameters = train.architecture(module)
        values = {
            "architecture": architecture,
            "parameters": parameters,
            "features": list(self.encoding.features),
            "target": self.encoding.target,
            "classes": list(self.encoding.classes),
            "dataset": {
                "name": self.sealed.name,
                "version": self.sealed.version,
                "sha256": self.sealed.manifest_sha256,
            },
            "purpose": self.purpose,
            "status": "complete" if taken == plan.steps else "stopped",
            "batch": plan.batch,
            "epochs": plan.epochs,
            "test": plan.test,
            "steps": taken,
            "optimizer": self._optimizer,
            "recipe": self._recipe.document() if self._recipe else None,
            "factory": self._source.record() if self._source else None,
        }
        how = stamp({"method": "DP-SGD (Abadi et al. 2016), Poisson sampling, flat clipping", "engine": train.ENGINE})
        return Evidence("training", subject, values, how, "post-processing")

    def _privacy_evidence(self, subject: Subject) -> Evidence:
        plan = self.plan
        values = {
            "epsilon": plan.epsilon,
            "delta": plan.delta,
            "noise_multiplier": plan.noise_multiplier,
            "sample_rate": plan.sample_rate,
            "steps": plan.steps,
            "max_grad_norm": plan.clip,
            "adjacency": "add-or-remove-one",
            "unit": "row",
            "accountant": "pld",
            "second_opinion": {
                "accountant": "rdp",
                "epsilon": accounting.epsilon(plan.events, plan.delta, "rdp"),
            },
            "events": plan.events,
        }
        return Evidence("privacy", subject, values, stamp(accounting.how()), "public")

    def _provenance_evidence(self, subject: Subject) -> Evidence:
        from pellucid import train

        project = self.project
        values = {
            "identity": project.acting,
            "roles": sorted(project.roles()),
            "key_release": "member",
            "policy": {"sha256": project.policy.sha256, "schema_sha256": project.policy.schema_sha256},
            "reservation": self._index,
            **({"factory": self._source.spec} if self._source else {}),
            "versions": train.versions(),
            "decisions": _decisions(project.counted(), self.sealed.name),
            "ledger": _public_ledger(Ledger.fold(project.counted(), self.sealed.name)),
        }
        return Evidence("provenance", subject, values, stamp({"method": "read from the log"}), "public", tier="auditor")


def dataset_evidence(sealed: data.Sealed) -> Evidence:
    """What was declared about the data: public knowledge, no count of anybody."""
    schema = sealed.schema
    values = {
        "name": sealed.name,
        "version": sealed.version,
        "units": schema.units,
        "unit": schema.unit,
        "target": schema.target,
        "columns": [{"name": c.name, "type": c.type, "sensitivity": c.sensitivity} for c in schema.columns.values()],
        "purposes": list(schema.purposes),
        "retention": schema.retention.isoformat() if schema.retention else None,
        "manifest": sealed.manifest_sha256,
    }
    subject = Subject(sealed.label, sealed.manifest_sha256)
    return Evidence("dataset", subject, values, stamp({"method": "declared by the schema"}), "public")


def _describe(optimizer: Any) -> dict[str, Any]:
    group = optimizer.param_groups[0]
    return {
        "name": type(optimizer).__name__,
        "learning_rate": float(group["lr"]),
        **({"momentum": float(group["momentum"])} if group.get("momentum") else {}),
    }


def _next_version(entries: Sequence[Entry], name: str) -> int:
    taken = [
        int(entry.body["run"].rpartition("@")[2])
        for entry in entries
        if entry.kind == "reserve" and entry.body["run"].rpartition("@")[0] == name
    ]
    return max(taken, default=0) + 1


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


def _public_ledger(ledger: Ledger) -> dict[str, Any]:
    return dict(ledger.document())


# -- runs that did not end --------------------------------------------------------------------------------------------


def _lock_path(project: Project, reservation: str) -> Path:
    return project.layout.root / "runs" / f"{reservation}.lock"


def _lock(project: Project, reservation: str) -> TextIO:
    """A file this process holds locked as long as the run lives, so that others can tell a dead run from a live one."""
    path = _lock_path(project, reservation)
    path.parent.mkdir(exist_ok=True)
    file = path.open("w", encoding="utf-8")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.write(f"{socket.gethostname()} {os.getpid()}\n")
    file.flush()
    return file


def _unlock(project: Project, reservation: str, file: TextIO) -> None:
    _lock_path(project, reservation).unlink(missing_ok=True)
    file.close()


def abandoned(project: Project) -> list[Entry]:
    """Reservations without settlement whose process, on this machine, is gone."""
    settled = {entry.body["reservation"] for entry in project.counted() if entry.kind == "settle"}
    dead = []
    for entry in project.counted():
        if entry.kind != "reserve" or entry.body["reservation"] in settled:
            continue
        path = _lock_path(project, entry.body["reservation"])
        if path.exists() and _free(path):
            dead.append(entry)
    return dead


def _free(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def unfinished(project: Project) -> list[str]:
    """What runs that were killed left behind, in plain sentences."""
    return [
        f"run {entry.body['run']} stopped without settling (killed, or the machine went down). Its whole plan, epsilon "
        f"{entry.body['epsilon']:g}, stays counted for {entry.body['dataset']}; nothing else was lost. "
        f"See pellucid budget {entry.body['dataset']}."
        for entry in abandoned(project)
    ]


def settle_abandoned(project: Project) -> None:
    """Record that abandoned runs count in full. Failure to do so changes nothing: they count in full unsettled too."""
    try:
        with project.writing() as writer:
            dead = abandoned(project)  # asked again with the log locked, so that two commands at once settle it once
            for entry in dead:
                steps = sum(int(event["count"]) for event in entry.body["events"])
                fields = {"reservation": entry.body["reservation"], "status": "abandoned", "steps": steps}
                writer.append(seal_record("settle", fields, project.identity.signing, project.moment()))
    except PellucidError as error:
        sys.stderr.write(f"{error}\n")
        return
    for entry in dead:
        _lock_path(project, entry.body["reservation"]).unlink(missing_ok=True)
