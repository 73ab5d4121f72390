"""Runs that were killed: going on from the last checkpoint under the same reservation, or giving them up."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pellucid.errors import Denied, Misuse, Tampered, UnknownName, nearest
from pellucid.log.entries import Entry
from pellucid.privacy import Plan
from pellucid.project.intents import mark
from pellucid.project.lawful import planned_steps
from pellucid.project.model import models
from pellucid.project.project import Project, unknown
from pellucid.project.reservations import clear, folder, interrupted, relock, resumption, tunes, waiting
from pellucid.project.reservations import unlock as _unlock
from pellucid.project.reserving import Reservation
from pellucid.project.run import Run

if TYPE_CHECKING:
    import torch

    from pellucid.project.recipe import Outcome
    from pellucid.train import Batches, PrivateModel, PrivateOptimizer, Recipe

__all__ = ["Resumed", "abandon", "resume", "resume_tuning"]


def resume(
    project: Project,
    name: str,
    *,
    on_step: Callable[[int, int], None] | None = None,
    checkpoint_every: int | None = None,
) -> Resumed:
    """A run that was killed, to be entered and trained as it was the first time.

    Args:
        project: Where.
        name: ``credit-risk@1``, or ``credit-risk`` for the newest that waits.
        on_step: Called with steps done and steps in all.
        checkpoint_every: As of :class:`pellucid.project.run.Run`.

    Raises:
        UnknownName: No run of that name waits to be resumed.
        Denied: Somebody else reserved it.
        Tampered: Checkpoint or intents are not what whoever reserved the run signed, or are of another run.
    """
    entry = _find(project, name)
    if tunes(entry):
        raise Misuse("this run is a tuning", where=str(entry.body["run"]), fix=resumption(project, entry))
    if entry.signer != project.identity.signing.verifier:
        raise Denied(f"{entry.signer.name} reserved this run, and nobody else goes on with it", where=entry.body["run"])
    return Resumed(project, entry, on_step=on_step, checkpoint_every=checkpoint_every)


def resume_tuning(project: Project, name: str, **options: Any) -> Outcome:
    """A tuning that was killed or interrupted, to its end; see :func:`pellucid.project.tuning.resume`.

    Raises:
        UnknownName: No run of that name waits to be resumed.
        Misuse: It is no tuning.
    """
    from pellucid.project import tuning

    entry = _find(project, name)
    if not tunes(entry):
        raise Misuse("this run is no tuning", where=str(entry.body["run"]), fix=resumption(project, entry))
    return tuning.resume(project, entry, **options)


def abandon(project: Project, name: str) -> str:
    """Settle a run that was killed: its whole plan stays spent, and its checkpoints, if it has any, are removed.

    Returns:
        The run's label.

    Raises:
        UnknownName: No run of that name waits.
        Misuse: It is running.
    """
    entry = waiting(project, name, to_go_on=False) or _find(project, name)
    reservation = entry.body["reservation"]
    file = relock(project, entry)
    try:
        project.record("settle", reservation=reservation, status="abandoned", steps=planned_steps(entry))
    except BaseException:
        file.close()  # it waits as before
        raise
    clear(project, reservation)
    _unlock(project, reservation, file)
    return str(entry.body["run"])


def _find(project: Project, name: str) -> Entry:
    entry = waiting(project, name)
    if entry is not None:
        return entry
    dead = waiting(project, name, to_go_on=False)
    if dead is not None:
        raise UnknownName(
            "this run was killed before its first checkpoint, so that nothing can go on",
            where=str(dead.body["run"]),
            fix="train it anew: its whole plan stays spent",
        )
    began = {str(entry.body["run"]): entry for entry in project.counted() if entry.kind == "reserve"}
    same = [entry for label, entry in began.items() if name in (label, label.rpartition("@")[0])]
    if same:
        raise _over(project, max(same, key=lambda entry: entry.index))
    labels = sorted(str(entry.body["run"]) for entry in interrupted(project))
    near = nearest(name, [*began, *(label.rpartition("@")[0] for label in began)])
    if near:
        raise UnknownName(f'there is no run "{name}"{near}', fix="pellucid budget D lists the runs of a data set")
    if not labels:
        raise UnknownName(
            "no run waits to be resumed: none was killed after its first checkpoint",
            where=name,
            fix="pellucid budget D lists the runs of a data set",
        )
    raise unknown("run that waits to be resumed", name, labels, "pellucid budget D lists the runs")


def _over(project: Project, entry: Entry) -> UnknownName:
    """Why a run that is known does not wait to be resumed."""
    said = {
        "stopped": "it was stopped and settled: what it took is spent, and the model of these steps is kept",
        "complete": "it took all its steps, and is settled",
        "abandoned": "it was given up: its whole plan stays spent",
    }
    reservation = entry.body["reservation"]
    settled = [e for e in project.counted() if e.kind == "settle" and e.body["reservation"] == reservation]
    if not settled:
        return UnknownName("it is running", where=str(entry.body["run"]), fix="wait for its end")
    status = str(settled[-1].body["status"])
    if status == "stopped" and str(entry.body["run"]) not in models(project):
        said["stopped"] = "it was stopped and settled without a model: what it took is spent"
    what = said.get(status, "it is settled")
    return UnknownName(what, where=str(entry.body["run"]), fix="train anew: a new run has a plan of its own")


class Resumed(Run):
    """A run that goes on. Steps that were lost in between are spent: they are not taken again.

    Entering decides ``train`` again and decrypts again; nothing is reserved. As long as ``run.private`` has not
    returned, an error leaves the run waiting as it was.
    """

    def __init__(
        self,
        project: Project,
        entry: Entry,
        *,
        on_step: Callable[[int, int], None] | None = None,
        checkpoint_every: int | None = None,
    ) -> None:
        self._entry = entry
        about = self._read(project)
        recipe: Recipe | None = None
        if about["recipe"] is not None:
            from pellucid import train

            recipe = train.Recipe.from_document(about["recipe"], where=entry.body["run"])
        super().__init__(
            project,
            str(entry.body["run"]).rpartition("@")[0],
            data=about["dataset"]["label"],
            purpose=about["purpose"],
            plan=Plan.from_record(entry.body["plan"]),
            factory=about["factory"]["spec"] if about["factory"] else None,
            features=about["features"],
            recipe=recipe,
            on_step=on_step,
            checkpoint_every=checkpoint_every,
        )
        self.label = str(entry.body["run"])

    @property
    def dataset(self) -> str:
        """The sealed version it learns from, as ``name@version``."""
        return self._data_name

    def going_on(self) -> str:
        """Where it goes on, for a person. All of it is public: the training statement counts the steps lost."""
        lost = self._spent - self._step
        words = f"{lost} announced step{'s' * (lost != 1)} after the checkpoint count{'s' * (lost == 1)} as spent"
        return f"resuming {self.label} at step {self._step} of {self.plan.steps}; {words}"

    def _read(self, project: Project) -> dict[str, Any]:
        """The newest checkpoint and the steps that are spent, if both belong to this run.

        Raises:
            Tampered: They do not.
        """
        from pellucid.train import checkpoint

        body = self._entry.body
        place = folder(project, body["reservation"])
        spent = mark(place, body["reservation"], self._entry.signer)
        step, about, self._state = checkpoint.newest(place, self._entry.signer)
        same = all(about.get(name) == body[name] for name in ("reservation", "run", "plan", "purpose"))
        if not same or not step <= spent <= Plan.from_record(body["plan"]).steps:
            raise Tampered("the checkpoint is of another run", where=str(place), fix="restore the folder from a backup")
        self._spent, self._step = spent, step
        return about

    def __enter__(self) -> Run:
        if self._reservation is not None:
            raise Misuse("a run is entered once", fix="call project.resume again")
        reservation, label = self._entry.body["reservation"], self._entry.body["run"]
        lock = relock(self.project, self._entry)
        self._held = Reservation(self.project, reservation, label, self._entry.index, lock)
        try:
            about = self._read(self.project)  # once more: nobody else writes to it from here on
            self._prepare()
            if self.sealed.manifest_sha256 != about["dataset"]["sha256"]:
                raise Tampered("the data set is not the one that the run began with", where=self.sealed.label)
            if self._source is not None:
                self._source.require(about["factory"]["sha256"])
            self.project.decide("train", self.sealed.resource(), self.purpose)
            self._load()
        except BaseException:
            self._wait()
            raise
        self._reservation = reservation
        self._index = self._entry.index
        self._mark = self._spent
        self._lost = [*about["lost"], self._spent - self._step]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._session is None:
            self._wait()
            return
        super().__exit__(kind, error, trace)

    def _wait(self) -> None:
        """Leave the run as it was found."""
        self._settled = True  # for this object: nothing can be done with it any more
        if self._held is not None:
            self._held.lock.close()

    def _make_private(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: Any, y: Any, options: dict[str, Any]
    ) -> tuple[PrivateModel, PrivateOptimizer, Batches]:
        from pellucid import train
        from pellucid.train import checkpoint

        # weights before the engine takes them for the right ones, and state after it has seen a fresh optimizer
        checkpoint.restore_model(self._state, model)
        clip = checkpoint.clip_of(self._state)
        plan = self._for_gradients()
        private = train.private(
            model, optimizer, plan, x, y, on_step=self._after_step, start=self._spent, clip=clip, **options
        )
        checkpoint.restore_optimizer(self._state, optimizer)
        self._users = optimizer
        return private

    def keep(self, name: str, thing: Any) -> None:
        """As of any run; ``thing`` is given what the checkpoint holds under this name."""
        from pellucid.train import checkpoint

        super().keep(name, thing)
        thing.load_state_dict(checkpoint.kept(self._state, name))
        # making a schedule has set the learning rate to that of its first step
        checkpoint.restore_optimizer(self._state, self._users, groups_only=True)
