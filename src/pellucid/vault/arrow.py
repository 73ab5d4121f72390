"""Where the vault gets Arrow from, with one error for an installation that lacks it."""

from __future__ import annotations

from pellucid.errors import MissingExtra

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ImportError as _error:
    raise MissingExtra(
        "sealed data needs pyarrow, which is not installed", where="vault", fix='pip install "pellucid[vault]"'
    ) from _error

__all__ = ["pa", "pc"]
