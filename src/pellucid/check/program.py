"""A compiled rule: the evidence it reads, and what that evidence makes of it.

The law of absence: every path of the expression is resolved before anything is evaluated. One that is missing, null
or not a finite number, and any range (of ``all``, ``exists``, ``filter`` …) that is empty, makes the outcome
*unmeasured*, whatever the rest of the expression says. Only ``has(path)`` excuses a path, and only while that very
path is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pellucid.check.evaluation import MAX_WORK, Evaluation, Unmeasured
from pellucid.check.syntax import Has, Index, Node, Path, Select, Variable, path_text, walk
from pellucid.errors import BadFile

__all__ = ["MACROS", "MAX_WORK", "Outcome", "Program"]

MACROS: Final = frozenset({"all", "exists", "exists_one", "filter", "map"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What evidence makes of a rule.

    Attributes:
        truth: True, False, or None: unmeasured.
        values: What each path resolved to, the items of ranges each by its own path; None where there was nothing.
        absent: Paths that were needed and are missing, null or not finite numbers.
        empty: Ranges without an item.
    """

    truth: bool | None
    values: Mapping[str, Any]
    absent: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression. Made by :func:`pellucid.check.cel.compile`.

    Attributes:
        text: The expression as written.
        root: Its tree.
        paths: Every evidence path it reads, in reading order, those inside ``has()`` included. A path through a
            macro's variable is written from the range: ``fairness.columns.gender.groups[].auc.low``.
        guarded: The paths inside ``has()``.
        kinds: The kinds of evidence it reads.
        parameters: The policy's own numbers it reads, by name.
    """

    text: str
    root: Node = field(repr=False)
    paths: tuple[str, ...] = field(init=False)
    guarded: frozenset[str] = field(init=False)
    kinds: frozenset[str] = field(init=False)
    parameters: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        nodes = list(walk(self.root))
        read = [n.path if isinstance(n, Has) else n for n in nodes if isinstance(n, Has | Variable | Select | Index)]
        # a bare macro variable is an item of a range that is listed already
        texts = [path_text(n) for n in read if not (isinstance(n, Variable) and n.bound)]
        object.__setattr__(self, "paths", tuple(dict.fromkeys(texts)))
        object.__setattr__(self, "guarded", frozenset(path_text(n.path) for n in nodes if isinstance(n, Has)))
        roots = frozenset(root.name for root in map(_root, read) if not root.bound)
        own = frozenset(text.partition(".")[2] for text in texts if text.startswith("parameters."))
        object.__setattr__(self, "kinds", roots - {"parameters"})
        object.__setattr__(self, "parameters", own)

    def evaluate(self, values: Mapping[str, Any]) -> Outcome:
        """What ``values`` (kind of evidence -> its JSON values) make of the rule.

        Raises:
            BadFile: Types do not fit, a division by zero, a result that is not yes or no, or too much work.
        """
        run = Evaluation(values, self.guarded)
        try:
            run.resolve(self.root, {})
            if run.absent or run.empty:
                return Outcome(None, run.values, tuple(run.absent), tuple(run.empty))
            return Outcome(run.truth(self.root, {}), run.values)
        except Unmeasured as missing:
            return Outcome(None, run.values, (str(missing),))
        except RecursionError as error:
            raise BadFile("the evidence nests too deep to be compared") from error


def _root(path: Path) -> Variable:
    while not isinstance(path, Variable):
        path = path.operand
    return path
