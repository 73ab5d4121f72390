"""The log in a database: ``journal`` is the log, over the ``rows`` of a ``database``; ``sqlite`` is its file.

The only door to SQLAlchemy, and through it only when a log is opened.
"""

from pellucid.log.store.journal import Log, Snapshot, Writer

__all__ = ["Log", "Snapshot", "Writer"]
