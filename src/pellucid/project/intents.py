"""How far a run may have got: written before its steps, so that after a kill none is taken for not taken.

One line for each intent, signed by whoever reserved the run: ``N BASE64``, which says that steps up to N may have been
taken. A line is on the disk before step N is begun. Cut short by a power cut, the last line counts for nothing: the
steps that it was for were not begun.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from pellucid.errors import PellucidError, Tampered
from pellucid.keys import SigningKey, VerifyKey, b64, unb64

__all__ = ["Intents", "mark"]

FILE: Final = "intents"
SOON, LATE = 0.5, 2.0  # seconds between intents: more often would cost time, less often would lose steps


class Intents:
    """Writes the intents of one run, so many steps ahead as take about a second.

    Attributes:
        mark: Steps up to this one may have been taken.
    """

    def __init__(self, folder: Path, reservation: str, signer: SigningKey, *, steps: int, mark: int = 0) -> None:
        self._path = folder / FILE
        self._reservation = reservation
        self._signer = signer
        self._steps = steps
        self._ahead = 1
        self._at = time.monotonic()
        self.mark = mark

    def cover(self, step: int) -> None:
        """Return when an intent for ``step``, or for the plan's last one if that is before, is on the disk.

        Raises:
            OSError: It cannot be written; the step must not be taken.
        """
        step = min(step, self._steps)
        if step <= self.mark:
            return
        moment = time.monotonic()
        gap, self._at = moment - self._at, moment
        if gap < SOON:
            self._ahead *= 2
        elif gap > LATE:
            self._ahead = max(1, self._ahead // 2)
        mark = min(step - 1 + self._ahead, self._steps)
        line = f"{mark} {b64(self._signer.sign(_message(self._reservation, mark)))}\n".encode()
        with self._path.open("ab", buffering=0) as file:
            if file.write(line) != len(line):
                raise OSError(f"{self._path}: only a part of a line could be written")
            os.fsync(file.fileno())
        self.mark = mark


def mark(folder: Path, reservation: str, signer: VerifyKey) -> int:
    """The step up to which the run may have got.

    Raises:
        Tampered: The file is not there, or a line of it is not what ``signer`` wrote.
    """
    path = folder / FILE
    try:
        whole, _, _ = path.read_bytes().rpartition(b"\n")
    except OSError as error:
        raise Tampered("nothing says how many steps may have been taken", where=str(path), fix=_FIX) from error
    marks = [_read(line, reservation, signer, f"{path}, line {i}") for i, line in enumerate(whole.split(b"\n"), 1)]
    if marks != sorted(set(marks)):
        raise Tampered("steps do not go back", where=str(path), fix=_FIX)
    return marks[-1]


_FIX = "restore the file, or give the run up: pellucid train NAME --abandon"


def _read(line: bytes, reservation: str, signer: VerifyKey, where: str) -> int:
    number, _, signature = line.partition(b" ")
    if not number.isdigit() or str(int(number)).encode() != number:
        raise Tampered("not an intent", where=where, fix=_FIX)
    try:
        text = signature.decode("ascii")
        signer.verify(unb64(text, where=where), _message(reservation, int(number)), where=where)
    except (UnicodeDecodeError, PellucidError) as error:
        raise Tampered("not signed by whoever reserved the run", where=where, fix=_FIX) from error
    return int(number)


def _message(reservation: str, step: int) -> bytes:
    return f"pellucid/intent@1\n{reservation}\n{step}\n".encode()
