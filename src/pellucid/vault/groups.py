"""Which columns share a key: those that the same roles may read. Pure, and free of pyarrow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pellucid.errors import BadFile

__all__ = ["TAG", "TAGS_GROUP", "Group", "group_columns"]

TAG: Final = "__tag__"
TAGS_GROUP: Final = "tags"


@dataclass(frozen=True, slots=True)
class Group:
    """Columns under one key.

    Attributes:
        id: ``g1``, ``g2`` … in the order of the first column of each, or ``tags``.
        columns: Column names, in the order of the schema.
        readers: The roles that the key is wrapped to; at least one.
    """

    id: str
    columns: tuple[str, ...]
    readers: frozenset[str]


def group_columns(readers: Mapping[str, frozenset[str]]) -> tuple[Group, ...]:
    """The coarsest groups in which every column of a group has the same readers.

    The split tags are a group of their own, the last, readable by every role that may read any column. Its key also
    opens the footer of each file, which says which columns there are and how many rows.

    Args:
        readers: For each column in order, the roles that may read it (the owner counts as any other role).

    Raises:
        BadFile: A column has no reader: what is sealed to nobody is lost. Or a column has the name of the tags.
    """
    if TAG in readers:
        raise BadFile(f'a column cannot be called "{TAG}": that is the split tag', where="columns", fix="rename it")
    by_readers: dict[frozenset[str], list[str]] = {}
    for column, roles in readers.items():
        if not roles:
            raise BadFile(
                f'no role may read column "{column}", and what is sealed to nobody is lost',
                where="access policy",
                fix="permit at least the owner to read it, or leave the column out",
            )
        by_readers.setdefault(frozenset(roles), []).append(column)
    if not by_readers:
        raise BadFile("there is no column to seal", where="columns")
    groups = [Group(f"g{i}", tuple(columns), roles) for i, (roles, columns) in enumerate(by_readers.items(), 1)]
    return (*groups, Group(TAGS_GROUP, (TAG,), frozenset().union(*by_readers)))
