"""Checkpoints: the log's signed word on how many entries it holds, and which.

A checkpoint (C2SP tlog-checkpoint) is a C2SP signed note with a body of exactly three lines and, here, exactly one
signature line::

    credit                                          origin: the log's name
    42                                              size: the number of entries, no leading zero
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=    root: base64 of 32 bytes

    — credit/log Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=

The signature is over the body with its last newline and without the blank line. Only what :func:`sign_checkpoint`
would have written is opened, so that every changed byte shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pellucid.errors import Misuse, Tampered
from pellucid.keys import SigningKey, VerifyKey, b64, unb64
from pellucid.log.tree import HASH_SIZE

__all__ = ["MAX_NOTE", "Checkpoint", "open_checkpoint", "open_note", "sign_checkpoint", "sign_note"]

MAX_NOTE: Final = 4096
"""The greatest number of bytes a note may have. Ours have about 200."""

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_MAX_SIZE: Final = 2**53 - 1  # what canonical JSON can still say
_ORIGIN: Final = re.compile(r"[!-~]+( [!-~]+)*")  # printable ASCII, so that no two origins look alike
_DASH: Final = "\N{EM DASH} "
_SIGNATURE: Final = 64


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log at one moment.

    Attributes:
        origin: The log's name: printable ASCII in one line.
        size: Number of entries, 0 to 2**53 - 1.
        root: 32-byte root of the tree over them.

    Raises:
        Misuse: A field is none of this.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not _ORIGIN.fullmatch(self.origin):
            raise Misuse("a log's origin is one line of printable ASCII", where="checkpoint")
        if not 0 <= self.size <= _MAX_SIZE:
            raise Misuse("a log's size is a whole number below 2**53", where="checkpoint")
        if len(self.root) != HASH_SIZE:
            raise Misuse(f"a root has {HASH_SIZE} bytes", where="checkpoint")

    @property
    def body(self) -> str:
        """The three lines that are signed, each with its newline."""
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n"


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """The checkpoint as a signed note."""
    return sign_note(checkpoint.body, key)


def open_checkpoint(text: str, key: VerifyKey, *, where: str) -> Checkpoint:
    """The checkpoint in a signed note.

    Args:
        text: The note, as :func:`sign_checkpoint` gives it.
        key: The log's key.
        where: What is read, for the error.

    Raises:
        Tampered: The note is not by ``key``, or not exactly what :func:`sign_checkpoint` would have written.
    """
    lines = open_note(text, key, where=where).split("\n")
    if len(lines) != 4 or not _SIZE.fullmatch(lines[1]) or not _ORIGIN.fullmatch(lines[0]):
        raise Tampered("a checkpoint has three lines: origin, size and root", where=where)
    origin, size, root = lines[0], int(lines[1]), unb64(lines[2], where=where)
    if size > _MAX_SIZE or len(root) != HASH_SIZE:
        raise Tampered("a checkpoint's size or root is out of range", where=where)
    return Checkpoint(origin, size, root)


def sign_note(body: str, key: SigningKey) -> str:
    """``body`` as a C2SP signed note with one Ed25519 signature.

    Args:
        body: One or more lines, each with its newline, no control characters.
        key: The signer; its name goes onto the signature line.

    Raises:
        Misuse: The body or the key's name cannot be in a note.
    """
    if not _is_body(body):
        raise Misuse("a note's body is lines of text, each with its newline")
    if not key.name or any(c.isspace() for c in key.name) or "+" in key.name:
        raise Misuse("a key that signs notes has a name without blanks and plus signs", where=key.name)
    note = f"{body}\n{_DASH}{key.name} {b64(key.verifier.hash + key.sign(body.encode()))}\n"
    if len(note.encode()) > MAX_NOTE:
        raise Misuse(f"a note has at most {MAX_NOTE} bytes")
    return note


def open_note(text: str, key: VerifyKey, *, where: str) -> str:
    """The body of a C2SP signed note that carries exactly one signature, by ``key``.

    Raises:
        Tampered: It is longer than :data:`MAX_NOTE`, malformed, by another key, or the signature does not fit.
    """
    # the length in characters is checked before anything walks over the text
    if type(text) is not str or len(text) > MAX_NOTE or len(text.encode(errors="replace")) > MAX_NOTE:
        raise Tampered(f"a note is text of at most {MAX_NOTE} bytes", where=where)
    body, blank, signature = text.rpartition(f"\n\n{_DASH}")
    body += "\n"
    name, space, blob = signature.removesuffix("\n").partition(" ")
    if not (blank and space and signature.endswith("\n") and _is_body(body)):
        raise Tampered("not a note with one signature", where=where)
    raw = unb64(blob, where=where)
    if name != key.name or len(raw) != 4 + _SIGNATURE or raw[:4] != key.hash:
        raise Tampered(f"the note is not signed by {key.name}", where=where)
    key.verify(raw[4:], body.encode(), where=where)
    return body


def _is_body(body: str) -> bool:
    """Whether ``body`` is text that ends in a newline and has no other control character and no lone surrogate."""
    return (
        len(body) > 1
        and body.endswith("\n")
        and all(c == "\n" or (c >= " " and c != "\x7f" and not "\ud800" <= c <= "\udfff") for c in body)
    )
