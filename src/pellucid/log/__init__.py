"""The transparency log: what happened, in order, signed, and never changed afterwards.

``tree`` (pure) hashes and proves, ``note`` (pure) signs the state, ``entries`` says what a leaf means, ``store``
keeps the leaves, the tree and the checkpoints, and ``verify`` believes none of it without recomputing.
"""

from pellucid.log.entries import (
    PAYLOAD_EVIDENCE,
    PAYLOAD_RECORD,
    RECORDS,
    Entry,
    parse,
    seal_evidence,
    seal_record,
)
from pellucid.log.note import Checkpoint, open_checkpoint, sign_checkpoint
from pellucid.log.store import Log, Snapshot, Writer
from pellucid.log.tree import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from pellucid.log.verify import Verified, verify

__all__ = [
    "PAYLOAD_EVIDENCE",
    "PAYLOAD_RECORD",
    "RECORDS",
    "Checkpoint",
    "Entry",
    "Log",
    "Snapshot",
    "Verified",
    "Writer",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "open_checkpoint",
    "parse",
    "root",
    "seal_evidence",
    "seal_record",
    "sign_checkpoint",
    "verify",
    "verify_consistency",
    "verify_inclusion",
]
