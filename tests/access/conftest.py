from __future__ import annotations

import pytest

from pellucid.access import AccessPolicy, shipped
from pellucid.schema import Schema

COLUMNS = """
[dataset]
target = "loan"
unit = "passport"
units = 1000
purposes = ["credit scoring", "fairness audit"]
[columns.region]
type = "category"
categories = ["north", "south"]
sensitivity = "public"
[columns.age]
type = "integer"
bounds = [17, 90]
sensitivity = "personal"
[columns.gender]
type = "category"
categories = ["Female", "Male"]
sensitivity = "special"
[columns.passport]
type = "identifier"
sensitivity = "identifier"
[columns.loan]
type = "boolean"
sensitivity = "personal"
"""


@pytest.fixture(scope="session")
def policy() -> AccessPolicy:
    return AccessPolicy.load(shipped())


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema.parse(COLUMNS)
