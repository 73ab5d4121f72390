"""The vault: sealed data sets. Data goes in as CSV, Parquet or a frame, and comes out as Arrow, never without a key.

``seal`` checks a table against its schema and encrypts it, column group by column group; ``verify`` holds the sealed
bytes against their signed manifest (no pyarrow needed); ``read`` asks the caller to release each group's key, then
decrypts the columns of the groups that were released and no others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pellucid.vault.exporting import export as export
    from pellucid.vault.groups import Group as Group
    from pellucid.vault.groups import group_columns as group_columns
    from pellucid.vault.manifest import Manifest as Manifest
    from pellucid.vault.manifest import SealedFile as SealedFile
    from pellucid.vault.manifest import read_manifest as read_manifest
    from pellucid.vault.manifest import unwrap_group_key as unwrap_group_key
    from pellucid.vault.opening import read as read
    from pellucid.vault.sealing import seal as seal
    from pellucid.vault.source import read_source as read_source
    from pellucid.vault.summing import aggregate as aggregate
    from pellucid.vault.tags import TAG as TAG
    from pellucid.vault.tags import draw_tags as draw_tags
    from pellucid.vault.tags import in_test as in_test
    from pellucid.vault.values import Problem as Problem
    from pellucid.vault.values import check_table as check_table
    from pellucid.vault.verifying import verify as verify

# Which file has it. A name is never that of a file, or importing the file would hide it.
_HOME: Final = {
    "Group": "groups",
    "Manifest": "manifest",
    "Problem": "values",
    "SealedFile": "manifest",
    "TAG": "tags",
    "aggregate": "summing",
    "check_table": "values",
    "draw_tags": "tags",
    "export": "exporting",
    "group_columns": "groups",
    "in_test": "tags",
    "read": "opening",
    "read_manifest": "manifest",
    "read_source": "source",
    "seal": "sealing",
    "unwrap_group_key": "manifest",
    "verify": "verifying",
}

__all__ = [
    "TAG",
    "Group",
    "Manifest",
    "Problem",
    "SealedFile",
    "aggregate",
    "check_table",
    "draw_tags",
    "export",
    "group_columns",
    "in_test",
    "read",
    "read_manifest",
    "read_source",
    "seal",
    "unwrap_group_key",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
