"""PROTECT, the access room: who may do what with the data, for which purpose, before any plaintext exists.

:class:`AccessPolicy` is what an owner adopted, :func:`decide` asks it, :func:`require` turns a no into an error,
:class:`Membership` is who holds which role by the log, :func:`readers` is whom each column's key is wrapped to.

Importing this loads no Cedar: the engine comes with the first policy that is loaded. The functions ``decide``,
``matrix`` and ``lint`` go by the names of their files, so name them from here or with ``from … import``.
"""

from pellucid.access.cases import Case, Failure, read_cases, run, untested
from pellucid.access.decide import Decision, decide, decide_many, require
from pellucid.access.lint import Remark, lint
from pellucid.access.matrix import Change, Row, difference, matrix, readers
from pellucid.access.policy import POLICY_FILE, SCHEMA_FILE, TESTS_FILE, AccessPolicy, shipped
from pellucid.access.request import Principal, Request, Resource
from pellucid.access.roles import Membership

__all__ = [
    "POLICY_FILE",
    "SCHEMA_FILE",
    "TESTS_FILE",
    "AccessPolicy",
    "Case",
    "Change",
    "Decision",
    "Failure",
    "Membership",
    "Principal",
    "Remark",
    "Request",
    "Resource",
    "Row",
    "decide",
    "decide_many",
    "difference",
    "lint",
    "matrix",
    "read_cases",
    "readers",
    "require",
    "run",
    "shipped",
    "untested",
]
