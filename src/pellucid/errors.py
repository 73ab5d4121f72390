"""Every error Pellucid raises, on one page.

    PellucidError
    ├── Refused             exit 1   a rule said no
    │   ├── Denied                   the access policy, or nothing in it, allows this
    │   ├── BudgetExceeded           the data set's privacy budget does not hold the plan
    │   ├── BudgetExhausted          the plan is spent, or a steward ended the run: to a loop over batches, its end
    │   └── RequirementsNotMet       the release policy is not met
    ├── Invalid             exit 2   the tool, its input or its use is wrong
    │   ├── BadData                  a value, a file or a column that the schema does not admit
    │   ├── BadFile                  a schema, recipe, policy or project file that does not parse or mean anything
    │   ├── BadPlan                  privacy parameters that cannot be meant
    │   ├── UnknownName              no such identity, role, data set, model, purpose, column …
    │   ├── WrongPassphrase          the passphrase does not open the identity
    │   ├── UnsupportedModel         the model cannot be trained privately as it is
    │   ├── Misuse                   a call in the wrong order, a step outside the plan
    │   └── MissingExtra             an optional dependency is not installed
    └── Unverified          exit 3   evidence is missing, unverifiable or tampered with
        ├── Tampered                 bytes are not what was signed or logged
        ├── NotAdopted               a policy or schema that no owner adopted
        └── NotTrusted               no owner was named, or the signer's chain does not reach one

An error says what is wrong, where, and what to do next; it never holds a private value, a key or a passphrase.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "BadData",
    "BadFile",
    "BadPlan",
    "BudgetExceeded",
    "BudgetExhausted",
    "Denied",
    "Invalid",
    "MissingExtra",
    "Misuse",
    "NotAdopted",
    "NotTrusted",
    "PellucidError",
    "Refused",
    "RequirementsNotMet",
    "Tampered",
    "UnknownName",
    "UnsupportedModel",
    "Unverified",
    "WrongPassphrase",
    "nearest",
]


class PellucidError(Exception):
    """The root. ``what`` is wrong, ``where`` (a file, a dotted key, a layer), and what to do ``next``."""

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        """One paragraph for a person: ``where: what`` and, on its own line, ``next: fix``."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  next: {self.fix}" if self.fix else head


class Refused(PellucidError):
    """A rule said no."""

    exit_code = 1


class Denied(Refused):
    """The access policy does not allow this."""


class BudgetExceeded(Refused):
    """The data set's privacy budget does not hold the plan."""


class BudgetExhausted(Refused, StopIteration):
    """The plan is spent, or a steward ended the run. To a ``for`` loop over batches it is the end, as any other."""


class RequirementsNotMet(Refused):
    """The release policy is not met by the bundle. ``exit_code`` follows the verdict (1 or 3)."""


class Invalid(PellucidError):
    """The tool, its input or its use is wrong."""

    exit_code = 2


class BadData(Invalid):
    """A value, a file or a column that the schema does not admit. Never shows the value.

    ``problems`` (each with ``column``, ``rule`` and exact ``count``; see ``vault.Problem``) are for the terminal of the
    person who holds the data; they are in neither ``str`` nor ``repr``.
    """

    problems: tuple[Any, ...] = ()


class BadFile(Invalid):
    """A file that a user wrote does not parse, or does not mean anything."""


class BadPlan(Invalid):
    """Privacy parameters that cannot be meant."""


class UnknownName(Invalid):
    """There is nothing of that name."""


class WrongPassphrase(Invalid):
    """The passphrase does not open the identity."""


class UnsupportedModel(Invalid):
    """The model cannot be trained privately as it is."""


class Misuse(Invalid):
    """A call in the wrong order, or a step outside the plan."""


class MissingExtra(Invalid):
    """An optional dependency is not installed."""


class Unverified(PellucidError):
    """Evidence is missing, unverifiable or tampered with."""

    exit_code = 3


class Tampered(Unverified):
    """Bytes are not what was signed or logged."""


class NotAdopted(Unverified):
    """A policy or schema that no owner adopted."""


class NotTrusted(Unverified):
    """The chain of grants does not reach a trusted owner."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as ``; did you mean "clip"?``, or the empty string where nothing is near.

    Args:
        name: What the user wrote.
        known: What would have been understood.
    """
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
