"""Everything that makes a model unsound or slow under DP-SGD, before any budget is reserved.

What can be mended without a person is mended in a copy, so that one problem does not hide the next.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from pellucid.errors import PellucidError, UnsupportedModel
from pellucid.schema import Encoding
from pellucid.train.calls import Call, observe
from pellucid.train.construction import Edit, Site, rewrite, unified, watching
from pellucid.train.costs import costs
from pellucid.train.diagnosis import Diagnosis, Note
from pellucid.train.factory import load_factory
from pellucid.train.fixes import Fix, erases, fixed, normalisers, replaced
from pellucid.train.guards import rows_like
from pellucid.train.probe import forward
from pellucid.train.recorder import Recorder
from pellucid.train.selfcheck import check_gradients
from pellucid.train.unsound import by_kind, by_pass

__all__ = ["diagnose", "examine"]


def examine(file: Path, factory: str, encoding: Encoding, like: Any, dtype: torch.dtype = torch.float32) -> Diagnosis:
    """:func:`diagnose` what a factory in a file builds; what can be mended is a diff of the file, if it can be.

    Args:
        file: The Python file.
        factory: Name of the function in it.
        encoding: Its width and classes are given to the function, if it wants them.
        like: As in :func:`diagnose`.
        dtype: As in :func:`diagnose`.

    Raises:
        BadFile: The file fails, or the function does not build a module.
        UnknownName: There is no such file or function.
    """
    spec = f"{file.stem}:{factory}"
    # what the user's file prints is no result of ours
    with contextlib.redirect_stdout(sys.stderr), watching(str(file.parent / file.name)):
        model = load_factory(spec, file.parent).make(encoding)
    diagnosis = diagnose(model, like, dtype)
    edits: dict[Site, Edit] = {}
    for fix in diagnosis.fixes:
        if fix.site is None or fix.edit is None or edits.setdefault(fix.site, fix.edit) != fix.edit:
            return diagnosis
    source = file.read_text(encoding="utf-8")
    mended = rewrite(source, edits.items())
    if mended is None or not _builds(mended, spec, encoding, diagnosis.after):
        return diagnosis
    return dataclasses.replace(diagnosis, diff=unified(source, mended, str(file), str(file)))


def _builds(source: str, spec: str, encoding: Encoding, printed: str) -> bool:
    """Whether ``source`` builds a model that prints so: what is offered must work."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(sys.stderr),
        warnings.catch_warnings(),  # said when the user's own file ran
    ):
        warnings.simplefilter("ignore")
        (Path(folder) / f"{spec.partition(':')[0]}.py").write_text(source, encoding="utf-8")
        try:
            return str(load_factory(spec, Path(folder)).make(encoding)) == printed
        except PellucidError:
            return False


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
        self._x = x
        self._given = dict(model.named_modules())
        self._calls: list[Call] = []
        self._groups: dict[Any, int] = {}
        self._unsound: set[str] = set()  # layers that could not be mended

    def look_at_kinds(self) -> None:
        """Layers that are unsound whatever they are given."""
        found = by_kind(self.work)
        failed = self._make_shapes()
        if failed is None:
            with contextlib.suppress(UnsupportedModel):  # which the passes will say
                self._calls = observe(self.work, self._x)
            self._groups = normalisers(self.work, self._calls)
        now = dict(self.work.named_modules())
        for name, _, problem in found:
            self.problems.append(problem)
            self.left += 1
            if failed is not None or not self._mend(name, now[name]):
                self._unsound.add(name)
        if failed is not None and not found:
            self.problems.append(failed)
            self.left += 1
        for call in self._calls:
            if isinstance(call.module, nn.GroupNorm) and erases(call.module, self._calls):
                what = "every group holds one number, so that what it gives does not depend on what it is given"
                self.notes.append(Note("erased", what, call.where, "use fewer groups"))
                self._mend(call.name, call.module, problem=False)

    def _make_shapes(self) -> UnsupportedModel | None:
        """Let lazy layers of the copy take their shapes from generated rows."""
        if not any(isinstance(module, LazyModuleMixin) for module in self.work.modules()):
            return None
        training = self.work.training
        try:
            with torch.no_grad():
                forward(self.work.eval(), self._x)
        except UnsupportedModel as error:
            return error
        finally:
            self.work.train(training)
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


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
