"""One governed training: decision, reservation, steps, evidence, settlement."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pellucid.errors import Misuse, PellucidError
from pellucid.evidence import Subject
from pellucid.keys import identity_name
from pellucid.privacy import AnyPlan, BoostPlan, Plan
from pellucid.project import data
from pellucid.project.budgets import check_plan
from pellucid.project.gate import Gate
from pellucid.project.interrupts import Interrupts
from pellucid.project.keeping import Keeper, check_every
from pellucid.project.loading import Loaded, require_unit
from pellucid.project.project import Project, tell
from pellucid.project.reservations import clear, folder
from pellucid.project.reserving import Reservation, reserve
from pellucid.project.statements import (
    dataset_evidence,
    describe,
    privacy_evidence,
    provenance_evidence,
    training_evidence,
)
from pellucid.project.unsafe import unsafe_evidence
from pellucid.schema import Encoding

if TYPE_CHECKING:
    import torch

    from pellucid.project.metrics import Scores
    from pellucid.project.model import Trained
    from pellucid.train import Batches, Factory, MovingAverage, PrivateModel, PrivateOptimizer, Recipe
    from pellucid.train.additive import Additive
    from pellucid.train.ebm import Boosting
    from pellucid.train.workers import Workers

__all__ = ["Run"]


class Run:
    """A governed run, as a context manager.

    Entering decides ``train``, reserves the whole plan in the data set's ledger, and only then decrypts. Leaving
    settles: with the steps taken if the run was cut short, as complete otherwise. The epsilon that the model claims is
    that of the reserved plan, however many steps were taken.

    Attributes:
        label: The model's name, such as ``credit-risk@1``.
        plan: The plan that was reserved.
        recipe: By which it is trained, if by one.
        encoding: How the declared columns become the model's inputs (``encoding.width`` numbers a row).
    """

    def __init__(
        self,
        project: Project,
        name: str,
        *,
        data: str,
        purpose: str,
        plan: AnyPlan,
        factory: str | None = None,
        features: Sequence[str] | None = None,
        recipe: Recipe | None = None,
        on_step: Callable[[int, int], None] | None = None,
        checkpoint_every: int | None = None,
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
        self.recipe = recipe
        self._on_step = on_step
        # boosting takes seconds and keeps no checkpoint
        self._every = 0 if isinstance(plan, BoostPlan) else check_every(checkpoint_every, plan)
        self._reservation: str | None = None
        self._held: Reservation | None = None  # by the process that writes the ledger
        self._session: Batches | Boosting | None = None
        self._source: Factory | None = None
        self._keeper: Keeper | None = None
        self._kept: dict[str, Any] = {}
        self._ended = 0  # the step that was ended last
        self._interrupts = Interrupts(lambda: self.steps_taken != self._ended)
        self._mark: int | None = None  # in a run that is resumed: steps that are spent already
        self._lost: list[int] = []
        self._doors: list[str] = []  # unsafe ones that were opened
        self._trained: Trained | None = None
        self._average: MovingAverage | None = None
        self._workers: Workers | None = None
        self._module: torch.nn.Module | None = None
        self._settled = False
        self._gate: Gate | None = None
        self._halt: Callable[[str], None] | None = None
        self._halted = False  # by a steward

    def __repr__(self) -> str:
        return f"Run({self.label!r})"

    @property
    def plan(self) -> AnyPlan:
        """The plan that was reserved. It cannot be exchanged for another."""
        return self._plan

    @property
    def trained(self) -> Trained | None:
        """The model, once it is saved."""
        return self._trained

    # -- entering and leaving -----------------------------------------------------------------------------------------

    def __enter__(self) -> Run:
        if self._reservation is not None:
            raise Misuse("a run is entered once", fix="call project.run again: every training is a reservation")
        self._prepare()
        self._workers = together()
        self._begin()
        try:
            self._load()
        except BaseException:
            self._settle("stopped", 0)
            raise
        return self

    def _begin(self) -> None:
        """Decide and reserve: once, by the first of all processes that train together; the others are told.

        Raises:
            Misuse: The first process was refused; its own error says why.
        """
        peers = self._workers
        if peers is not None and not peers.leads:
            note = peers.tell(None)
            if not note["reservation"]:
                raise Misuse("the first worker of this training was refused", fix="look at its error")
            self._reservation, self.label, self._index = note["reservation"], note["label"], note["index"]
            return
        try:
            self.project.decide("train", self.sealed.resource(), self.purpose)
            self._reserve()
        finally:
            if peers is not None:
                note = {"reservation": self._reservation, "label": self.label}
                peers.tell({**note, "index": self._index if self._reservation else None})

    @property
    def _leads(self) -> bool:
        """Whether this process writes the ledger and leaves the evidence."""
        return self._workers is None or self._workers.leads

    def _prepare(self) -> None:
        """Everything that can be refused before anything is recorded.

        Raises:
            BadPlan: The plan is not one for this data set, or claims less than its events cost.
        """
        from pellucid.train import load_factory

        sealed = data.dataset(self.project, self._data_name)
        check_plan(self.plan, sealed.schema.units)
        require_unit(self.plan, sealed)
        self.encoding = Encoding.of(sealed.schema, self._features)
        if len(self.encoding.classes) < 2:
            raise Misuse("training needs a target with classes", fix="declare a category or a boolean as the target")
        if self._factory is not None:
            self._source = load_factory(self._factory, self.project.layout.root)
        self.sealed = sealed

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interrupts.leave()
        steps = self.steps_taken
        try:
            if self._session is not None and steps > 0:
                if error is None and self._leads:
                    self.finish()
                elif error is None:
                    self._released()
                elif isinstance(error, KeyboardInterrupt):
                    self._rescue()
        finally:
            try:
                self._settle("complete" if steps == self.plan.steps else "stopped", steps)
                if isinstance(error, KeyboardInterrupt) and self._leads:
                    saved = "" if self._trained is None else "; the model of these steps is saved"
                    tell(f"{self.label} is settled after {steps} of {self.plan.steps} steps{saved}")
            finally:
                self._interrupts.release()

    def _rescue(self) -> None:
        """The model of the steps taken, saved with its evidence; a run that was interrupted ends as interrupted."""
        try:
            self.finish()
        except PellucidError as problem:
            tell(f"the model of the steps taken was not saved: {problem}")

    @property
    def steps_taken(self) -> int:
        """Steps in which noise was added and weights moved; with those that may have been, before a resumed run."""
        return self._session.steps_taken if self._session is not None else self._mark or 0

    def _reserve(self) -> None:
        """Write the whole plan into the ledger, in one transaction with the look at what is left."""
        made = reserve(self.project, self.sealed.name, self.plan, name=self._name, purpose=self.purpose)
        self._held, self._reservation, self.label, self._index = made, made.name, made.label, made.index

    def _settle(self, status: str, steps: int) -> None:
        if self._settled or self._reservation is None:
            return
        self._settled = True
        if self._held is not None:
            self._held.settle(status, steps)

    def _load(self) -> None:
        """Decrypt what the model learns from; which columns, is decided and recorded one group at a time."""
        self._loaded = Loaded.read(self.project, self.sealed, self.encoding, purpose=self.purpose, test=self.plan.test)

    # -- training -----------------------------------------------------------------------------------------------------

    def private(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        loss: Callable[[Any, Any], torch.Tensor] | None = None,
        reduction: str = "mean",
        memory: int | str | None = None,
        augment: Callable[[torch.Tensor], torch.Tensor] | None = None,
        average: float | None = None,
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
            loss: As of :func:`pellucid.train.private`: held against ``reduction``, on made-up rows.
            reduction: ``mean`` or ``sum``.
            memory: Bytes that a step may take, or ``"low"``.
            augment: Makes the views of a row, if the plan has more than one.
            average: Decay, in [0, 1), of a moving average of the weights: the average is what the run saves.

        Returns:
            The wrapped model and optimizer, and an iterator of Poisson batches ``(x, y)`` that ends with the plan.

        Raises:
            UnsupportedModel: The model couples examples, learns from data in a buffer, or cannot be clipped.
            Misuse: Called twice, or outside the ``with`` block.
        """
        if self._reservation is None or self._settled:
            raise Misuse("run.private belongs inside the with block of the run")
        self._for_gradients()
        if self._session is not None:
            raise Misuse(
                "run.private was called already: one run trains one model with one optimizer",
                fix="put all parameters into one optimizer, or open a second run",
            )
        import torch

        from pellucid import train
        from pellucid.train import checkpoint
        from pellucid.train.workers import is_sharded

        if average is not None and any(is_sharded(p) for p in model.parameters()):
            raise Misuse("an average of weights that are spread over processes is not kept", where="average")

        self._optimizer = describe(optimizer)
        x, y, people = self._loaded.training()
        self._remark(model, x)
        if self._workers is not None:  # each process its own people
            number = torch.arange(len(x)) if people is None else people
            own = number % self._workers.count == self._workers.rank
            x, y, people = x[own], y[own], None if people is None else people[own]
        options = {"loss": loss, "reduction": reduction, "memory": memory, "augment": augment, "people": people}
        private = self._make_private(model, optimizer, x, y, options)
        self._model, wrapped, batches = private
        self._session, self._halt = batches, batches.halt
        self._gate = Gate(self.project, self._reservation) if self._leads else None
        self._ended = self.steps_taken
        self._keeper = Keeper(
            folder(self.project, self._reservation),
            self._reservation,
            self.project.identity.signing,
            steps=self.plan.steps,
            every=self._every if self._workers is None else 0,  # workers' generators differ: no run of theirs goes on
            about=self._about(),
            capture=lambda: checkpoint.capture(model, optimizer, clip=wrapped.clip, keep=self._kept),
            mark=self._mark,
        )
        self._keeper.begin()
        if loss is not None:
            self._optimizer["loss"] = f"{reduction} over rows, held against made-up rows"
        if average is not None:
            self._average = train.MovingAverage(model, average)
            self.keep("average", self._average)
            self._optimizer["average"] = average
        self._interrupts.hold()
        return private

    def _remark(self, model: torch.nn.Module, x: torch.Tensor) -> None:
        """Say it where the model gives probabilities: it may be trained, and hardly learns."""
        from pellucid.train.probabilities import FIX, WHAT, probabilities_at
        from pellucid.train.probe import generated_tree

        where = probabilities_at(model, generated_tree(x)) if self._workers is None else None
        if where is not None:
            tell(f"{where}: {WHAT}\n  next: {FIX}")

    def _make_private(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: Any, y: Any, options: dict[str, Any]
    ) -> tuple[PrivateModel, PrivateOptimizer, Batches]:
        from pellucid import train

        return train.private(model, optimizer, self._for_gradients(), x, y, on_step=self._after_step, **options)

    def _for_gradients(self) -> Plan:
        """The plan, if it is one for gradients.

        Raises:
            Misuse: It is not.
        """
        if isinstance(self.plan, BoostPlan):
            raise Misuse("this plan is for boosting", where="plan", fix="make the plan with Plan.calibrate")
        return self.plan

    def boost(self, model: Additive, *, learning_rate: float, leaves: int) -> Additive:
        """Train an additive model by boosting, by a plan for it; the whole plan, in one call.

        Args:
            model: All zeros; of the run's encoding.
            learning_rate: What is added to a leaf, in mean residuals.
            leaves: Into which a column is cut in a step, at most.

        Raises:
            Misuse: Called twice, outside the ``with`` block, by several processes, or the plan is none of boosting.
        """
        if self._reservation is None or self._settled or self._session is not None:
            raise Misuse("run.boost belongs inside the with block of the run, and is called once")
        if not isinstance(self.plan, BoostPlan):
            raise Misuse(
                "this plan is for gradients", where="plan", fix="make the plan with privacy.BoostPlan.calibrate"
            )
        if self._workers is not None:
            raise Misuse("boosting is done by one process", where="run", fix="start it without torchrun")
        from pellucid.train.ebm import Boosting

        x, y, _ = self._loaded.training()
        self._optimizer = {"name": "cyclic boosting", "learning_rate": learning_rate, "leaves": leaves}
        boosting = Boosting(
            model,
            self.plan,
            x,
            y,
            learning_rate=learning_rate,
            leaves=leaves,
            on_step=self._after_step,
        )
        self._session, self._module, self._halt = boosting, model, boosting.halt
        self._gate = Gate(self.project, self._reservation)
        self._interrupts.hold()
        try:
            boosting.run()
        finally:
            boosting.close()
        return model

    def _about(self) -> dict[str, Any]:
        """What a checkpoint belongs to, and what it takes to go on from it."""
        return {
            "reservation": self._reservation,
            "run": self.label,
            "plan": self.plan.record(),
            "dataset": {"label": self.sealed.label, "sha256": self.sealed.manifest_sha256},
            "purpose": self.purpose,
            "features": list(self._features) if self._features is not None else None,
            "recipe": self.recipe.document() if self.recipe else None,
            "factory": self._source.record() if self._source else None,
            "lost": self._lost,
        }

    def _after_step(self, step: int) -> None:
        self._ended = step
        if self._average is not None:
            self._average.update()
        if self._keeper is not None:
            self._keeper.after(step)
        if self._on_step is not None:
            self._on_step(step, self.plan.steps)
        self._look(step)
        self._interrupts.between()

    def _look(self, step: int) -> None:
        """End the loop after this step if a steward ended the run. The first worker looks, and all end together."""
        why = self._gate.ended() if self._gate is not None else None
        ended = why is not None if self._workers is None else self._workers.agree(why is not None)
        if ended and self._halt is not None:
            self._halt(why or "the first worker was told to end this run")
            self._gate, self._halted = None, True
        if why is not None:
            tell(f"{self.label} ends after {step} of {self.plan.steps} steps: {why}; its model is kept")

    def keep(self, name: str, thing: Any) -> None:
        """Put something else into the checkpoints; in a resumed run, it goes on from where it was.

        Args:
            name: Under which it is kept.
            thing: Has ``state_dict()`` and ``load_state_dict()`` of tensors and plain values, and is a function of the
                weights and of public numbers alone: a moving average of the weights, a learning-rate schedule.

        Raises:
            Misuse: Called before ``run.private``, twice with one name, or a resumed run's checkpoint holds nothing of
                that name.
        """
        if self._session is None:
            raise Misuse("there is nothing to keep yet", where=name, fix="call run.private first")
        if name in self._kept:
            raise Misuse("this is kept already", where=name)
        self._kept[name] = thing

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

        module = self._released()
        if not self._leads:
            raise Misuse("the first worker leaves the evidence", where="run", fix="ask it")
        folder = self.project.layout.model(self.label)
        folder.mkdir(parents=True, exist_ok=True)
        sha256 = train.save(module, folder / "weights.safetensors")
        subject = Subject(self.label, sha256)
        training = training_evidence(
            self,
            subject,
            module,
            optimizer=self._optimizer,
            recipe=self.recipe,
            factory=self._source,
            lost=self._lost,
        )
        provenance = provenance_evidence(self, subject, reservation=self._index, factory=self._source)
        self.project.publish(
            [
                dataset_evidence(self.sealed),
                training,
                privacy_evidence(self.plan, subject, self.sealed.schema, taken=self.steps_taken),
                provenance,
                *(unsafe_evidence(door, subject) for door in dict.fromkeys(self._doors)),
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
            loaded=self._loaded,
        )
        return self._trained

    def _end_for(self, verb: str) -> None:
        """Say that a verb that needs the model ends a run with steps left, and have no loop go on as if it were done.

        A loop that was left and a loop that the verb is called in look alike until the next batch is asked for.
        """
        from pellucid.train import Batches

        taken, steps = self.steps_taken, self.plan.steps
        batches = self._session if isinstance(self._session, Batches) else None
        if batches is None or self._module is not None or self._halted or not 0 < taken < steps:
            return
        what = f"run.{verb}() ended {self.label} after {taken} of {steps} steps"
        fix = f"use run.score(epsilon) to look on the way, or call run.{verb}() after the loop"
        batches.cut_short(Misuse(what, where="batches", fix=fix))
        if self._leads:
            tell(f"run.{verb}() ends {self.label} after {taken} of {steps} steps: {steps - taken} are left undone")

    def _released(self) -> torch.nn.Module:
        """End training; what the run saves: the weights, or their average, in a plain module.

        Every process has to come here, since weights that are spread over them are gathered.
        """
        from pellucid import train
        from pellucid.train.workers import full_weights, reshard

        if self._module is None and self._session is not None:
            reshard(self._model)
            self._session.close()
            whole = full_weights(self._model)
            if whole is None:
                plain = train.standard(self._model)
                self._module = plain if self._average is None else self._average.copy(plain)
            elif self._source is None:
                raise Misuse(
                    "weights that are spread over processes need a plain module to go into",
                    where="run",
                    fix='name the factory that builds it: project.run(…, factory="model:build")',
                )
            else:
                self._module = self._source.make(self.encoding).eval()
                self._module.load_state_dict(whole)
        if self._module is None:
            raise Misuse("nothing was trained in this run yet", fix="call run.private and take at least one step")
        return self._module

    def standing(self) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
        """The model as it is now, as a plain copy, and inputs and targets of the people held out. They are private.

        Raises:
            Misuse: There is no model yet or no longer in the making, or several processes make it.
        """
        if self._session is None or self._keeper is None or self._trained is not None or self._module is not None:
            raise Misuse("only a model in the making is scored", where="run", fix="call it in the loop of run.private")
        if self._workers is not None:
            raise Misuse("a model that several processes make is not scored on its way", where="run")
        from pellucid import train

        plain = train.standard(self._model)
        x, y = self._loaded.held_out()
        return plain if self._average is None else self._average.copy(plain), x, y

    def score(self, epsilon: float, *, delta: float | None = None, ranked: bool = False) -> Scores:
        """How good the model is now, released: noisy, and paid from the data set's budget beside the run's plan.

        Whatever is done by it, such as leaving the loop early, costs nothing more.

        Args:
            epsilon: The most that this one look may cost.
            delta: At this delta; default that of the budget.
            ranked: Whether the AUC is wanted too.

        Raises:
            BadPlan, BudgetExceeded, Denied: As of :func:`pellucid.project.metrics.release_scores`.
            Misuse: There is no model in the making.
        """
        from pellucid.project.metrics import release_scores

        return release_scores(
            self.project,
            self.sealed,
            self.label,
            *self.standing(),
            purpose=self.purpose,
            test=self.plan.test,
            epsilon=epsilon,
            delta=delta,
            ranked=ranked,
        )

    def opened(self, door: str) -> None:
        """Take down that an unsafe door was opened: the model will say so. The run can no longer be resumed.

        Raises:
            Misuse: There is no model in the making.
        """
        self.standing()
        self._doors.append(door)
        if self._keeper is not None and self._reservation is not None:
            self._keeper.stop()
            clear(self.project, self._reservation)

    def evaluate(self, *, release: float | None = None, delta: float | None = None) -> None:
        """Leave evidence of performance, calibration and, where special columns may be read, of fairness.

        Ends the run, as the other measurements do: within the loop, look by :meth:`score`. Of several processes the
        first one leaves it.

        Args:
            release: Epsilon to spend on a performance that is covered, and nothing else; see
                :meth:`pellucid.project.model.Trained.evaluate`.
            delta: Of the release.
        """
        self._end_for("evaluate")
        if self._leads:
            self.finish().evaluate(release=release, delta=delta)
        else:
            self._released()

    def explain(self) -> None:
        """Leave evidence of what the model looks at, and of whether that explanation holds."""
        self._end_for("explain")
        if self._leads:
            self.finish().explain()
        else:
            self._released()

    def attack(self) -> None:
        """Leave evidence of what a membership attack finds: a lower bound beside the claimed epsilon."""
        self._end_for("attack")
        if self._leads:
            self.finish().attack()
        else:
            self._released()


def together() -> Workers | None:
    """The processes that train together with this one, if there are any."""
    if "torch.distributed" not in sys.modules:
        return None
    from pellucid.train.workers import workers

    found = workers()
    return found if found.count > 1 else None
