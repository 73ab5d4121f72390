"""Attribute the answers for some rows to the fields of the rows, in the way that fits the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import BadData, UnsupportedModel, nearest
from pellucid.explain.answers import outputs, pick
from pellucid.explain.attribution import blackbox, methods, occlusion, path, tokens
from pellucid.explain.attribution.question import Answer, Question
from pellucid.explain.attribution.result import Attribution
from pellucid.explain.fields import Fields, as_fields
from pellucid.explain.inputs import check_numbers_or_tokens, check_seed
from pellucid.explain.intervals import Floats
from pellucid.explain.model import frozen, untouched
from pellucid.explain.reference import reference_row, reference_words
from pellucid.explain.steady import steady
from pellucid.schema import Code, Encoding

__all__ = ["again", "attribute"]

ROWS: Final = 10_000  # rows attributed at most
_METHODS: Final[Mapping[str, Callable[[Question], Answer]]] = {
    "integrated_gradients": path.explain,
    "gradient_shap": methods.gradient_shap,
    "deep_lift": methods.deep_lift,
    "shapley_sampling": methods.shapley_sampling,
    "kernel_shap": blackbox.kernel_shap,
    "occlusion": occlusion.explain,
    "grad_cam": methods.grad_cam,
    "layer_integrated_gradients": tokens.explain,
    "token_occlusion": tokens.occlude,
}
_TOKENS: Final = ("layer_integrated_gradients", "token_occlusion")
_SEVERAL: Final = ("gradient_shap", "kernel_shap")  # take a distribution of baselines


@untouched()
def attribute(
    model: nn.Module,
    x: Tensor,
    encoding: Encoding | Fields,
    *,
    method: str = "auto",
    target: int | None = None,
    baseline: Tensor | None = None,
    tolerance: float = 0.01,
    steps: int = 32,
    limit: int = 512,
    draws: int | None = None,
    rows: int = ROWS,
    seed: int = 0,
    public: bool = False,
) -> Attribution:
    """Attributions of the answers for ``x``, and what they miss by.

    Integrated gradients start with ``steps`` points a path, which are doubled until the gap is within ``tolerance``,
    first on a few rows, then on all.

    Args:
        model: Standard modules, or what :func:`pellucid.train.private` returned, of which a plain copy is made; not
            wrapped by Opacus. It is not touched.
        x: (N, …) float32, or token ids (N, T) int64.
        encoding: Says which slots of a (flattened) row belong to which column, patch or token.
        method: A name of the table in :mod:`pellucid.explain.attribution`; ``auto`` takes integrated gradients, at the
            embedding where the model reads tokens.
        target: The class whose score is explained; by default the log-odds of class 1 of two.
        baseline: A row (…); by default the references that the schema declares, and zeros elsewhere, which in a table
            is the midpoint of a declared range, or no category at all. (M, …) for GradientShap and KernelShap. Token
            ids (T,) or () for tokens; by default padding, or the zero vector where the embedding knows none.
        tolerance: The largest admissible completeness gap, above 0.
        steps: Points on a path to begin with.
        limit: Points on a path at most.
        draws: Points, orders or coalitions drawn a row, where the method draws.
        rows: Rows to attribute at most; of more, a sample drawn with ``seed``.
        seed: Public; draws rows, orders and points, no noise.
        public: ``x`` and ``baseline`` were made without the data, as by :func:`pellucid.explain.public_rows`.

    Raises:
        BadData: Wrong type, shape, or NaN; a baseline outside of the declared ranges; an unknown method or class.
        UnsupportedModel: The model is random in eval mode or mixes rows, the method does not fit it, more than two
            classes and no ``target``, or the completeness gap stays above ``tolerance``.
    """
    fields = as_fields(encoding)
    _check(x, encoding, fields)
    if not (tolerance > 0 and 1 <= steps <= limit and rows >= 1 and (draws is None or draws >= 1)):
        raise BadData("tolerance must be above 0, 1 <= steps <= limit, rows >= 1 and draws >= 1", where="attribute")
    check_seed(seed)
    if method != "auto" and method not in _METHODS:
        raise BadData(
            f'there is no method "{method}"{nearest(method, _METHODS)}',
            where="method",
            fix=f"auto, {', '.join(_METHODS)}; a simple model of the model is fit_surrogate",
        )
    if baseline is not None and not isinstance(baseline, Tensor):
        raise BadData("the baseline must be a tensor", where="baseline")
    if x.is_inference():
        x = x.clone()
    if len(x) > rows:
        chosen = np.sort(np.random.default_rng(seed).choice(len(x), rows, replace=False))
        x = x[torch.from_numpy(chosen).to(x.device)]
    twin = frozen(model)
    steady(twin, x, gradient=True)
    pick(outputs(twin, x[:1]), target)
    method = _choose(twin, x, method)
    if method in _TOKENS:
        start, words = tokens.origin(tokens.embedding_of(twin, x), baseline, x.shape[1])
    else:
        start, words = _start(x, encoding, baseline, method)
    question = Question(
        twin, x, start, fields, target, tolerance, steps, limit, draws or _draws(method, len(fields)), seed
    )
    answer = _METHODS[method](question)
    return Attribution(
        rows=answer.rows,
        fields=fields,
        gap=answer.gap,
        steps=answer.steps,
        tolerance=tolerance,
        baseline=words,
        seed=seed,
        public=public,
        origin=start[0] if len(start) == 1 else start,
        method=method,
        target=target,
        draws=answer.draws,
        noise=answer.noise,
        precision=answer.precision,
    )


@untouched()
def again(model: nn.Module, x: Tensor, like: Attribution) -> Floats:
    """Attributions (N, fields) of another model or of other rows, made exactly as ``like`` was, whatever their gap.

    This is what tests of an explanation compare: a model with weights drawn anew, or a row with noise on it.

    Args:
        model: Standard modules. It is not touched.
        x: (N, …) as the rows of ``like``.
        like: Says method, fields, class, baseline, steps, draws and seed.

    Raises:
        BadData: Rows of another type or shape.
        UnsupportedModel: The method does not fit the model.
    """
    _check(x, like.fields, like.fields)
    single = like.origin.ndim == x.ndim - 1
    start = like.origin[None] if single else like.origin
    draws = like.draws or _draws(like.method, len(like.fields))
    steps = max(1, like.steps)
    question = Question(frozen(model), x, start, like.fields, like.target, np.inf, steps, steps, draws, like.seed)
    return _METHODS[like.method](question).rows


def _check(x: Tensor, encoding: Encoding | Fields, fields: Fields) -> None:
    check_numbers_or_tokens(x, encoding if isinstance(encoding, Encoding) else None)
    if x[0].numel() != fields.width:
        raise BadData(
            f"a row has {x[0].numel()} slots, and the fields speak of {fields.width}",
            where="x",
            fix="make the fields from the shape of a row",
        )


def _choose(model: nn.Module, x: Tensor, method: str) -> str:
    """The method that ``auto`` stands for; that another one fits the kind of rows.

    Raises:
        UnsupportedModel: Token ids, and a method that would do arithmetic on them.
    """
    if method == "auto":
        if not x.is_floating_point():
            return "layer_integrated_gradients"
        if x.ndim == 2 and any(isinstance(part, nn.Embedding) for part in model.modules()):
            try:
                tokens.embedding_of(model, x)
            except UnsupportedModel:
                return "integrated_gradients"
            return "layer_integrated_gradients"
        return "integrated_gradients"
    if not x.is_floating_point() and method not in _TOKENS:
        raise UnsupportedModel(
            f"{method} moves along numbers, and token ids are names",
            where="method",
            fix=f"ask by one of {', '.join(_TOKENS)}",
        )
    return method


def _start(x: Tensor, encoding: Encoding | Fields, baseline: Tensor | None, method: str) -> tuple[Tensor, str]:
    """Baselines (M, …), and what they are in words.

    Raises:
        BadData: Another shape or type than the rows, not finite, or outside of what the schema declares.
    """
    if method == "grad_cam":
        if baseline is not None:
            raise BadData("Grad-CAM compares with nothing, and takes no baseline", where="baseline")
        return torch.zeros_like(x[:1], device="cpu"), "none"
    if baseline is None:
        if isinstance(encoding, Encoding):
            return reference_row(encoding)[None], reference_words(encoding)
        return torch.zeros_like(x[:1], device="cpu"), "zeros"
    single = baseline.shape == x.shape[1:]
    fits = single or (method in _SEVERAL and baseline.shape[1:] == x.shape[1:] and len(baseline) > 0)
    if not fits or baseline.dtype != torch.float32 or not bool(torch.isfinite(baseline).all()):
        raise BadData("the baseline must be finite float32 with one number a slot", where="baseline")
    start = (baseline[None] if single else baseline).cpu()
    if isinstance(encoding, Encoding):
        for code, place in zip(encoding.codes, encoding.slices().values(), strict=True):
            if not _declared(code, start[:, place]):
                raise BadData(
                    "the baseline is outside of what the schema declares for this column",
                    where=code.column,
                    fix="take a row that encode_features could have made",
                )
    return start, "given by the caller" if single else "several rows given by the caller"


def _declared(code: Code, part: Tensor) -> bool:
    """Whether slots (M, width) lie within what is declared: of indicators, shares of one category at most."""
    indicators = part
    if code.how in ("linear", "log", "boolean"):
        low = 0.0 if code.how == "boolean" else -1.0
        if bool(((part[:, 0] < low) | (part[:, 0] > 1.0)).any()):
            return False
        indicators = part[:, 1:]
    return bool((indicators >= 0.0).all()) and bool((indicators.sum(dim=1) <= 1.0 + 1e-6).all())


def _draws(method: str, fields: int) -> int:
    return 8 * (2 * fields + 256) if method == "kernel_shap" else 64
