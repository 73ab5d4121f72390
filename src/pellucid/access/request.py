"""A question to the access policy: who, what, on what, for which purpose."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pellucid.schema import Column, Schema

__all__ = ["Kind", "Principal", "Request", "Resource"]

Kind = Literal["Project", "Dataset", "Column", "Model"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: an identity with the roles it holds today, or a role itself (to learn who may read a column).

    Attributes:
        type: ``Identity`` or ``Role``.
        name: The identity's or the role's name.
        roles: The roles an identity holds. A role holds none.
    """

    type: Literal["Identity", "Role"]
    name: str
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Resource:
    """What is asked for, as the access schema knows it.

    Attributes:
        type: ``Project``, ``Dataset``, ``Column`` or ``Model``.
        name: Its name; a column's is ``dataset/column``.
        attributes: What policies may ask about it (text, number, boolean, or a set of text).
        parents: What it is part of; their attributes and parents go to Cedar too.
    """

    type: Kind
    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    parents: tuple[Resource, ...] = ()

    def __str__(self) -> str:
        """The entity as Cedar writes it: ``Column::"applicants/age"``."""
        return f"{self.type}::{json.dumps(self.name, ensure_ascii=False)}"

    @classmethod
    def project(cls, name: str) -> Resource:
        """A project."""
        return cls("Project", name)

    @classmethod
    def dataset(cls, name: str, schema: Schema) -> Resource:
        """The data set ``name`` with the purposes that its schema declares."""
        return cls("Dataset", name, {"purposes": frozenset(schema.purposes)})

    @classmethod
    def column(cls, dataset: str, column: Column, schema: Schema) -> Resource:
        """One column of the data set ``dataset``."""
        return cls(
            "Column",
            f"{dataset}/{column.name}",
            {"purposes": frozenset(schema.purposes), "sensitivity": column.sensitivity},
            (cls.dataset(dataset, schema),),
        )

    @classmethod
    def model(cls, name: str, purposes: Iterable[str], dataset: Resource | None = None) -> Resource:
        """A model, with the declared purposes of the data that it was trained on."""
        return cls("Model", name, {"purposes": frozenset(purposes)}, (dataset,) if dataset else ())


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the policy. ``purpose`` is absent where nothing was stated, never an empty text."""

    principal: Principal
    action: str
    resource: Resource
    purpose: str | None = None
