"""What a tuning is asked, checked and put into a plan before anything is decided, recorded or decrypted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.errors import BadPlan, PellucidError, Tampered
from pellucid.evidence import canonical, digest
from pellucid.privacy import Ledger, LedgerPlan, TuningPlan, plan_from_record
from pellucid.project import data
from pellucid.project.loading import require_unit
from pellucid.project.project import Project
from pellucid.project.scoring import METRICS, noise_for
from pellucid.schema import Encoding

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pellucid.train import Recipe
    from pellucid.train.space import Space

__all__ = ["Asked", "fitting", "prepare", "public_rows", "rows_sha256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was registered before the first trial."""

    dataset: str
    purpose: str
    recipe: Recipe
    space: Space
    plan: TuningPlan
    metric: str
    public_sha256: str | None
    hold: float

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "dataset": self.dataset,
            "purpose": self.purpose,
            "recipe": self.recipe.document(),
            "space": self.space.document(),
            "plan": self.plan.record(),
            "metric": self.metric,
            "public_sha256": self.public_sha256,
            "hold": self.hold,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any], *, where: str) -> Asked:
        """From :meth:`document`.

        Raises:
            Tampered: It is none.
        """
        from pellucid.train import Recipe
        from pellucid.train.space import Space

        plan = plan_from_record(document["plan"])
        if not isinstance(plan, TuningPlan):
            raise Tampered("this is no tuning", where=where)
        recipe = Recipe.from_document(document["recipe"], where=where)
        read = {"recipe": recipe, "space": Space.of(document["space"], where=where), "plan": plan}
        return cls(**{**document, **read})


def prepare(
    project: Project,
    space: Space | Mapping[str, Any],
    *,
    dataset: str,
    purpose: str,
    recipe: Recipe | Path | str,
    trials: float,
    distribution: str = "logarithmic",
    score: str = "accuracy",
    score_noise: float | None = None,
    public: pd.DataFrame | Path | str | None = None,
    hold: float = 0.0,
) -> tuple[Asked, tuple[torch.Tensor, torch.Tensor] | None]:
    """What :func:`pellucid.project.tuning.tune` is asked with these words, and the public rows that it scores on.

    Nothing is decided, recorded or decrypted.

    Raises:
        BadFile, BadPlan: Space, recipe or numbers cannot be meant.
    """
    from pellucid.errors import nearest
    from pellucid.train import Recipe
    from pellucid.train.space import Space

    parsed = recipe if isinstance(recipe, Recipe) else Recipe.read(Path(recipe))
    sealed = data.dataset(project, dataset)
    wanted = Space.of(space)
    wanted.check(parsed)
    if score not in METRICS:
        raise BadPlan(f"a score is one of {', '.join(METRICS)}{nearest(score, METRICS)}", where="score")
    if not 0 <= hold <= 30 * 86_400:  # and so no NaN
        raise BadPlan("hold must be a number of seconds, at most a month", where="hold")
    encoding = Encoding.of(sealed.schema, parsed.features)
    if score == "auc" and len(encoding.classes) != 2:
        raise BadPlan("the AUC is of two classes", where="score", fix='score="accuracy"')
    scored = public_rows(project, parsed, sealed, public)
    if scored is not None and score_noise is not None:
        raise BadPlan("a score of public data has no noise", where="score_noise", fix="leave it out")
    base = parsed.make_plan(sealed.schema)
    require_unit(base, sealed)
    noise = None
    if scored is None:
        people = base.units - base.train_units
        if people < 1:
            fix = "hold out a share, or score on public data"
            raise BadPlan("nobody is held out to score on", where="split.test", fix=fix)
        noise = (
            noise_for(score, people, epsilon=parsed.epsilon, delta=parsed.delta) if score_noise is None else score_noise
        )
    plan = TuningPlan.calibrate(
        base, epsilon=parsed.epsilon, trials=trials, distribution=distribution, score_noise=noise
    )
    asked = Asked(
        dataset=sealed.label,
        purpose=purpose,
        recipe=parsed,
        space=wanted,
        plan=plan,
        metric=score,
        public_sha256=rows_sha256(scored),
        hold=float(hold),
    )
    return asked, scored


def public_rows(
    project: Project, recipe: Recipe, sealed: data.Sealed, public: Any
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Public data by the same schema, encoded."""
    if public is None:
        return None
    from pellucid import train, vault

    source = vault.read_source(Path(public)) if isinstance(public, str | Path) else public
    table = vault.check_table(source, sealed.schema)
    encoding = Encoding.of(sealed.schema, recipe.features)
    return train.encode_features(table, encoding), train.encode_target(table, encoding)


def rows_sha256(scored: tuple[torch.Tensor, torch.Tensor] | None) -> str | None:
    """Digest of public data as it is scored."""
    if scored is None:
        return None
    return digest(canonical([digest(part.numpy().tobytes()) for part in scored]))


def fitting(ledger: Ledger, asked: Asked) -> str:
    """The largest epsilon, in hundredths, at which the same tuning would fit, as advice."""
    owner = "ask an owner for a larger budget"

    def fits(epsilon: float) -> bool:
        plan = asked.plan
        try:
            other: LedgerPlan = TuningPlan.calibrate(
                plan.base,
                epsilon=epsilon,
                trials=plan.trials,
                distribution=plan.distribution,
                score_noise=plan.score_noise,
            )
            ledger.admit(other)
        except PellucidError:
            return False
        return True

    low, high = 0, int(asked.plan.epsilon * 100)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle / 100) else (low, middle)
    return f"this tuning fits with epsilon {low / 100:g} in the recipe; or {owner}" if low else f"nothing fits; {owner}"
