"""Tuning: many private trainings, one reservation, one model. What is asked is registered before the first trial.

With private selection (:mod:`pellucid.privacy.tuning`) the number of trials is drawn in here and told to nobody, and
of all trials but the best nothing leaves: no log entry, no line of progress, no file in the clear. What a killed
process needs to go on lies in a :class:`~pellucid.project.drawer.Drawer`, whose key is destroyed when the reservation
is settled. How long it all took is not hidden, unless it is held until a time that was fixed beforehand.
"""

from __future__ import annotations

import base64
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pellucid.errors import Denied, Misuse, PellucidError, Refused, Tampered
from pellucid.evidence import Evidence, Subject
from pellucid.keys import identity_name
from pellucid.log.entries import Entry
from pellucid.privacy import Plan, TuningPlan
from pellucid.privacy.tuning import draw_trials
from pellucid.project import data
from pellucid.project.asked import Asked, fitting, prepare, public_rows, rows_sha256
from pellucid.project.drawer import Drawer
from pellucid.project.gate import EVERY, Gate
from pellucid.project.loading import Loaded
from pellucid.project.model import Trained
from pellucid.project.project import Project, entry_time, now, stamp
from pellucid.project.recipe import Outcome
from pellucid.project.reservations import folder, relock
from pellucid.project.reserving import Reservation, reserve
from pellucid.project.run import together
from pellucid.project.scoring import private_score, public_score
from pellucid.project.statements import dataset_evidence, privacy_evidence, provenance_evidence, training_evidence
from pellucid.schema import Encoding

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import nn

    from pellucid.train import Recipe
    from pellucid.train.space import Space

__all__ = ["resume", "tune"]

Phase = Callable[[str], None]
_FAILED: Final = (PellucidError, RuntimeError, ValueError, ArithmeticError)
"""What a configuration may run into, such as weights that are not finite: its score is then the worst there is."""


class _Ended(Exception):
    """Somebody ended the tuning."""


def tune(
    project: Project,
    space: Space | Mapping[str, Any],
    *,
    trials: float,
    name: str,
    data: str,
    purpose: str,
    recipe: Recipe | Path | str,
    distribution: str = "logarithmic",
    score: str = "accuracy",
    score_noise: float | None = None,
    public: pd.DataFrame | Path | str | None = None,
    hold: float = 0.0,
    on_phase: Phase | None = None,
) -> Outcome:
    """Choose a configuration privately: register, decide, reserve, try, release the best model, settle.

    Args:
        project: Where.
        space: What may vary: by dotted key of the recipe a list of values or a range; see
            :class:`~pellucid.train.space.Space`.
        trials: How many are expected; with ``distribution="all"``, how many there are.
        name: Of the model; a name used before makes its next version.
        data: The sealed data set.
        purpose: What for.
        recipe: What does not vary. Its epsilon is that of the whole tuning, and what the model claims.
        distribution: Of the number of trials: ``logarithmic``, ``geometric`` or ``poisson``, of which only the best
            trial is released; or ``all``, of which all may be seen, and all are paid for.
        score: ``accuracy``, or of two classes ``auc``.
        score_noise: Noise multiplier of the score on the people held out; default one that moves the score by about
            half a point, or more where that would be dear.
        public: Public data of the same schema to score on instead, exactly and at no cost.
        hold: Seconds from the reservation before which nothing of the end is recorded, so that the time it took tells
            nothing, if the trials take less.
        on_phase: Called with what begins, in words for a person; never with a number of trials.

    Raises:
        BadFile, BadPlan: Space, recipe or numbers cannot be meant; nothing is recorded.
        Denied, BudgetExceeded: The policy or the budget says no; nothing was decrypted.
        Refused: There is no model at the end.
    """
    identity_name(name)
    if together() is not None:
        raise Misuse("a tuning is done by one process", where="tune", fix="start it without torchrun")
    asked, scored = prepare(
        project,
        space,
        dataset=data,
        purpose=purpose,
        recipe=recipe,
        trials=trials,
        distribution=distribution,
        score=score,
        score_noise=score_noise,
        public=public,
        hold=hold,
    )
    sealed = _sealed(project, asked)
    project.decide("train", sealed.resource(), purpose)
    made = reserve(
        project, sealed.name, asked.plan, name=name, purpose=purpose, fitting=lambda ledger: fitting(ledger, asked)
    )
    drawer = Drawer(folder(project, made.name), made.name, project.identity)
    session = Session(project, asked, sealed, made, drawer, scored, on_phase or (lambda _: None))
    try:
        session.load()
        session.state = {"asked": asked.document(), "trials": draw_trials(asked.plan), "done": 0, "best": None}
        session.keep()
    except BaseException:
        made.settle("stopped", 0)  # no trial was begun
        raise
    return session.carry_out(time.monotonic() + hold)


def resume(project: Project, entry: Entry, *, public: Any = None, on_phase: Phase | None = None) -> Outcome:
    """Go on with a tuning that was killed or interrupted: no trial that was finished is taken again.

    Args:
        project: Where.
        entry: Its reservation, which waits.
        public: The public data, if it was scored on some.
        on_phase: As of :func:`tune`.

    Raises:
        Denied: Somebody else reserved it, or the policy says no by now.
        Misuse: It is running, is settled, or the public data is other than it was.
        Tampered: The state is not what whoever reserved the run signed.
    """
    label, reservation = str(entry.body["run"]), entry.body["reservation"]
    if entry.signer != project.identity.signing.verifier:
        raise Denied(f"{entry.signer.name} reserved this run, and nobody else goes on with it", where=label)
    held = relock(project, entry)
    try:
        drawer = Drawer(folder(project, reservation), reservation, project.identity)
        state = drawer.get()
        asked = Asked.of(state["asked"], where=label)
        if asked.plan.record() != entry.body["plan"] or asked.purpose != entry.body["purpose"]:
            raise Tampered("the state is of another run", where=label)
        sealed = _sealed(project, asked)
        scored = public_rows(project, asked.recipe, sealed, public)
        if rows_sha256(scored) != asked.public_sha256:
            raise Misuse(
                "the public data is not what the tuning began with", where="public", fix="give the same, or none"
            )
        project.decide("train", sealed.resource(), asked.purpose)
        made = Reservation(project, reservation, label, entry.index, held)
        session = Session(project, asked, sealed, made, drawer, scored, on_phase or (lambda _: None), state)
        session.load()
    except BaseException:
        held.close()  # it waits as before
        raise
    waited = (now() - entry_time(entry)).total_seconds()
    return session.carry_out(time.monotonic() + asked.hold - waited)


@dataclass(slots=True)
class Session:
    """A tuning that is reserved.

    Attributes:
        project: Where.
        asked: What was registered.
        sealed: The data set version.
        made: The reservation.
        drawer: Where the state is kept.
        scored: Inputs and targets of the public data, if the score is of that.
        say: Tells a person what begins.
        state: How many trials there are and were, and the best so far. Private: it goes nowhere but into the drawer.
    """

    project: Project
    asked: Asked
    sealed: data.Sealed
    made: Reservation
    drawer: Drawer
    scored: tuple[torch.Tensor, torch.Tensor] | None
    say: Phase
    state: dict[str, Any] = field(default_factory=dict, repr=False)
    gate: Gate = field(init=False, repr=False)
    _loaded: Any = field(default=None, repr=False)

    @property
    def encoding(self) -> Encoding:
        """How columns become inputs."""
        return Encoding.of(self.sealed.schema, self.asked.recipe.features)

    def load(self) -> None:
        """Decrypt what is learned from, once for all trials."""
        asked = self.asked
        self._loaded = Loaded.read(
            self.project, self.sealed, self.encoding, purpose=asked.purpose, test=asked.plan.base.test
        )

    def keep(self) -> None:
        """The state, into the drawer."""
        self.drawer.put(self.state)

    def carry_out(self, until: float) -> Outcome:
        """All trials that are left, and then the end, not before the moment ``until``.

        Whatever stops it in between leaves it waiting to be resumed: to end early would be to choose how many trials
        there are after looking. But for ``pellucid budget stop``: it ends without a model, and is spent.

        Raises:
            Refused: Somebody ended it, or there is no model at the end.
        """
        try:
            self.say(
                f"tuning {self.made.label}: how many trials there are stays hidden"
                if self.asked.plan.hidden
                else f"tuning {self.made.label}"
            )
            if self.asked.plan.hidden and not self.asked.hold:
                self.say("how long it takes is in the log, and hints at how many there were")
                self.say("hold = SECONDS in the space keeps the end back for so long")
            self.gate = Gate(self.project, self.made.name)
            self._open(self.gate.ended())
            while self.state["done"] < self.state["trials"]:
                self._next()
            self._wait(until)
            trained = self._release()
        except _Ended as ended:
            self.made.settle("abandoned", self.asked.plan.steps)
            raise Refused(
                f"{ended}; no model is released, and its price stays spent",
                where=self.made.label,
                fix="a tuning gives nothing before its end: tune again, within what is left",
            ) from None
        except BaseException:
            self.made.lock.close()
            raise
        self.made.settle("complete", self.asked.plan.steps)
        if trained is None:
            raise Refused(
                "the tuning ended without a model: no trial was drawn, or none could be trained",
                where=self.made.label,
                fix="it is paid for; tune again with another space, or another distribution than poisson",
            )
        self.say(f"evaluating {self.made.label} on people held out")
        trained.evaluate()
        self.say(f"explaining {self.made.label}, and testing the explanation")
        trained.explain()
        plan = self.asked.plan
        return Outcome(self.made.label, trained.subject.sha256, plan.epsilon, plan.delta, plan.base.steps, "complete")

    @staticmethod
    def _open(why: str | None) -> None:
        if why is not None:
            raise _Ended(why)

    def _wait(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(EVERY, left))
            self._open(self.gate.ended())

    def _next(self) -> None:
        drawn = self.asked.space.draw()
        score, weights = self._trial(drawn)
        best = self.state["best"]
        if weights is not None and (best is None or score["rank"] > best["score"]["rank"]):
            kept = base64.b64encode(weights).decode("ascii")
            self.state["best"] = {"score": score, "drawn": drawn, "weights": kept}
        if not self.asked.plan.hidden:
            shown = {name: value for name, value in score.items() if name != "rank"}
            self.state.setdefault("seen", []).append({"configuration": drawn, **shown})
        self.state["done"] += 1
        self.keep()

    def _trial(self, drawn: Mapping[str, Any]) -> tuple[dict[str, Any], bytes | None]:
        """Score and weights of one trial; no weights if it could not be trained."""
        from safetensors.torch import save

        from pellucid.train.trial import trial

        x, y, people = self._loaded.training()
        held: tuple[torch.Tensor, torch.Tensor] = self._loaded.held_out()
        plan, metric = self.asked.plan, self.asked.metric
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a line for each trial would count them
                recipe = self.asked.space.recipe(self.asked.recipe, drawn)
                gate = self.gate
                module = trial(
                    recipe, plan.base, self.encoding, x, y, people=people, on_step=lambda _: self._open(gate.ended())
                )
                if self.scored is not None:
                    score = public_score(module, *self.scored, metric)
                else:
                    noise = plan.score_noise or 0.0
                    score = private_score(module, *held, metric, noise, _held_out(plan))
        except _FAILED:
            return {}, None
        return score, save({name: tensor.contiguous() for name, tensor in module.state_dict().items()})

    def _release(self) -> Trained | None:
        """The best trial's model, saved and evidenced."""
        from pellucid import train

        best = self.state["best"]
        if best is None:
            return None
        recipe = self.asked.space.recipe(self.asked.recipe, best["drawn"])
        module = _module(recipe, self.encoding, base64.b64decode(best["weights"]))
        place = self.project.layout.model(self.made.label)
        place.mkdir(parents=True, exist_ok=True)
        subject = Subject(self.made.label, train.save(module, place / "weights.safetensors"))
        optimizer = {"name": recipe.optimizer or "cyclic boosting", "learning_rate": recipe.learning_rate}
        asked, plan = self.asked, self.asked.plan
        if isinstance(plan.base, Plan):  # to what this one was clipped; it takes no part in the claim
            plan = replace(plan, base=replace(plan.base, clip=recipe.clip))
        made = Selected(self.project, self.sealed, self.encoding, plan.base, asked.purpose, plan.base.steps)
        training = training_evidence(made, subject, module, optimizer=optimizer, recipe=recipe, factory=None, lost=())
        self.project.publish(
            [
                dataset_evidence(self.sealed),
                training,
                privacy_evidence(plan, subject, self.sealed.schema, hold=asked.hold),
                provenance_evidence(made, subject, reservation=self.made.index, factory=None),
                self._evidence(subject),
            ]
        )
        return Trained(
            project=self.project,
            subject=subject,
            module=module,
            sealed=self.sealed,
            encoding=self.encoding,
            purpose=asked.purpose,
            test=plan.base.test,
            delta=plan.delta,
            loaded=self._loaded,
        )

    def _evidence(self, subject: Subject) -> Evidence:
        """How the model was chosen: what was registered, and of ``all`` what was seen."""
        asked, plan = self.asked, self.asked.plan
        on = "public data" if self.scored is not None else "people held out, by a private release"
        score = {
            "name": asked.metric,
            "on": on,
            **({"noise_multiplier": plan.score_noise} if plan.score_noise is not None else {}),
            **({"sha256": asked.public_sha256} if asked.public_sha256 else {}),
        }
        values = {
            "distribution": plan.distribution,
            "trials": plan.trials,
            "space": asked.space.document(),
            "score": score,
            "epsilon": plan.epsilon,
            "delta": plan.delta,
            "trial": plan.trial,
            "events": plan.events,
            "released": "the best trial" if plan.hidden else "all trials",
            **({"seen": self.state["seen"]} if not plan.hidden else {}),
        }
        method = "private selection (Papernot & Steinke 2022, arXiv 2110.03620)" if plan.hidden else "joint composition"
        how = {
            "method": method,
            "configurations": "independent draws from the space, before and without any score",
            "hold": asked.hold,
        }
        return Evidence("tuning", subject, values, stamp(how), "public" if plan.hidden else "own-release")


@dataclass(frozen=True, slots=True)
class Selected:
    """What the statements of a training are about: the trial that was chosen."""

    project: Project
    sealed: data.Sealed
    encoding: Encoding
    plan: Any
    purpose: str
    steps_taken: int


def _sealed(project: Project, asked: Asked) -> data.Sealed:
    return data.dataset(project, asked.dataset)


def _held_out(plan: TuningPlan) -> int:
    """The public number of people held out."""
    return plan.base.units - plan.base.train_units


def _module(recipe: Recipe, encoding: Encoding, weights: bytes) -> nn.Module:
    from safetensors.torch import load

    from pellucid import train

    module = train.build(recipe, encoding)
    module.load_state_dict(load(weights))
    return module.eval()
