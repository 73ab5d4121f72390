"""Everything that makes a model unsound or slow under DP-SGD, before any budget is reserved.

What can be mended without a person is mended in a copy, so that one problem does not hide the next.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.utils._pytree import tree_leaves

from pellucid.errors import PellucidError, UnsupportedModel
from pellucid.train.calls import Call, observe
from pellucid.train.doctor.costs import costs
from pellucid.train.doctor.diagnosis import Diagnosis, Note
from pellucid.train.doctor.fixes import Fix, erases, fixed, normalisers, replaced
from pellucid.train.guards import rows_like
from pellucid.train.probabilities import FIX, WHAT, probabilities_at
from pellucid.train.recorder import Recorder
from pellucid.train.selfcheck import check_gradients
from pellucid.train.unsound import by_kind, by_pass

__all__ = ["diagnose"]


def diagnose(model: nn.Module, like: Any, dtype: torch.dtype = torch.float32) -> Diagnosis:
    """All that makes ``model`` unsound or slow under DP-SGD, and what can be mended.

    Args:
        model: Takes rows and gives as many rows of floats; is left as it was.
        like: The shape of one row, as a tuple of whole numbers; or rows, of which only shape and type are read.
        dtype: Type of a row, if ``like`` is a shape.
    """
    x = rows_like(like, dtype)
    try:
        work = copy.deepcopy(model, _shapeless(model))
    except Exception as error:  # noqa: BLE001 - whatever their code raises is what the doctor says
        what = f"the model cannot be copied: {type(error).__name__}: {_first_line(error)}"
        problem = UnsupportedModel(
            what, where=type(model).__name__, fix="keep only modules, parameters and buffers in it"
        )
        return Diagnosis((problem,), (), (), str(model), str(model), 1)
    patient = _Patient(model, work, x)
    patient.look_at_kinds()
    if patient.fits:
        patient.look_at_outputs()
        patient.look_at_passes()
    if not patient.left:
        patient.look_at_gradients()
    return Diagnosis(
        tuple(patient.problems),
        tuple(patient.notes),
        tuple(patient.fixes),
        str(model),
        str(patient.work),
        patient.left,
    )


def _shapeless(model: nn.Module) -> dict[int, Any]:
    """For a deep copy: buffers without a shape yet, which torch cannot copy."""
    buffers = [buffer for buffer in model.buffers() if isinstance(buffer, nn.parameter.UninitializedBuffer)]
    kind: Any = nn.parameter.UninitializedBuffer  # torch's stub knows no device
    return {id(buffer): kind(device=buffer.device, dtype=buffer.dtype) for buffer in buffers}


class _Patient:
    """A model under examination: ``work`` is a copy in which whatever can be mended is mended on the way."""

    def __init__(self, model: nn.Module, work: nn.Module, x: Any) -> None:
        self.work = work
        self.problems: list[PellucidError] = []
        self.notes: list[Note] = []
        self.fixes: list[Fix] = []
        self.left = 0
        self.fits = True  # the model takes the rows
        self._x = x
        self._given = dict(model.named_modules())
        self._calls: list[Call] = []
        self._groups: dict[Any, int] = {}
        self._unsound: set[str] = set()  # layers that could not be mended

    def look_at_kinds(self) -> None:
        """Layers that are unsound whatever they are given."""
        found = by_kind(self.work)
        failed = self._first_pass()
        if failed is not None:
            self.fits = False
            # what stands in for a layer follows from what it is given: nothing is offered for rows that do not fit
            self.problems += [failed, *(problem for _, _, problem in found)]
            self.left = len(self.problems)
            return
        self._groups = normalisers(self.work, self._calls)
        now = dict(self.work.named_modules())
        for name, _, problem in found:
            self.problems.append(problem)
            self.left += 1
            if not self._mend(name, now[name]):
                self._unsound.add(name)
        for call in self._calls:
            if isinstance(call.module, nn.GroupNorm) and erases(call.module, self._calls):
                what = "every group holds one number, so that what it gives does not depend on what it is given"
                self.notes.append(Note("erased", what, call.where, "use fewer groups"))
                self._mend(call.name, call.module, problem=False)

    def _first_pass(self) -> UnsupportedModel | None:
        """Why the model does not take the rows, if so; lazy layers of the copy take their shapes from them."""
        if any(isinstance(module, LazyModuleMixin) for module in self.work.modules()):
            failed = self._failure(training=False)
            if failed is not None:
                return failed
        failed = self._failure(training=True)
        # what one mode takes is not refused for its shape
        return None if failed is None or self._failure(training=False) is None else failed

    def _failure(self, *, training: bool) -> UnsupportedModel | None:
        try:
            calls = observe(self.work, self._x, training=training)
        except UnsupportedModel as error:
            if error.__cause__ is None:
                return None  # the rows were taken: what came of them is the affair of the passes
            return UnsupportedModel(error.what, where=error.where, fix=_other_rows(self._x))
        if training:
            self._calls = calls
        return None

    def _mend(self, name: str, module: nn.Module, *, problem: bool = True, coupled: bool = False) -> bool:
        fix = fixed(name, module, self._given.get(name, module), self._calls, self._groups, coupled=coupled)
        if fix is None:
            return False
        self.left -= problem
        if all((fix.layer, fix.after) != (other.layer, other.after) for other in self.fixes):
            self.work = replaced(self.work, module, fix.replacement)
            self.fixes.append(fix)
        return True

    def look_at_outputs(self) -> None:
        """Probabilities where logits are wanted: as private as any, and a model that hardly learns."""
        where = probabilities_at(self.work, self._x)
        if where is not None:
            self.notes.append(Note("output", WHAT, where, FIX))

    def look_at_passes(self) -> None:
        """What probes of forward passes show, again and again, as long as it can be mended."""
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in self.work.parameters()):
            return
        while found := by_pass(self.work, self._x):
            name, module, problem = found[0]
            if name in self._unsound:
                return  # which has been said
            self.problems.append(problem)
            self.left += 1
            if not self._mend(name, module, coupled=True):
                return

    def look_at_gradients(self) -> None:
        """Gradients by example against autograd's, parameter by parameter, and what a step costs."""
        self._note_costs()
        trial = copy.deepcopy(self.work)
        parameters = dict(trial.named_parameters())
        while any(p.requires_grad for p in parameters.values()):
            recorder = Recorder(trial)
            try:
                check_gradients(recorder, self._x)
            except PellucidError as problem:
                self.problems.append(problem)
                self.left += 1
                wrong = parameters.get(problem.where or "")
                if wrong is None or not wrong.requires_grad:
                    return
                wrong.requires_grad_(False)  # set aside, so that it does not hide the next
            else:
                return
            finally:
                recorder.release()

    def _note_costs(self) -> None:
        recorder = Recorder(copy.deepcopy(self.work))
        try:
            self.notes += costs(recorder, self._x)
        except PellucidError:
            return  # which the comparison of gradients will say
        finally:
            recorder.release()


def _other_rows(x: Any) -> str:
    """The remedy for a model that does not take rows like ``x``."""
    kinds = [f"{str(leaf.dtype).removeprefix('torch.')} of shape {tuple(leaf.shape[1:])}" for leaf in tree_leaves(x)]
    return (
        f"the model does not take rows of {', '.join(kinds)}: give what it takes (--input-shape, --dtype), or build it "
        "for the width of the schema"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
