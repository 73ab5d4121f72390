"""Reservations on this machine: which run is alive, which was killed, and which of those can go on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import TextIO

from pellucid.console import command
from pellucid.errors import Misuse, PellucidError
from pellucid.log.entries import Entry, seal_record
from pellucid.project.drawer import STATE, destroy
from pellucid.project.lawful import planned_steps
from pellucid.project.project import Project, tell

__all__ = [
    "abandoned",
    "clear",
    "folder",
    "interrupted",
    "lock",
    "relock",
    "resumption",
    "settle",
    "settle_abandoned",
    "sweep",
    "tunes",
    "unfinished",
    "unlock",
    "waiting",
]


def folder(project: Project, reservation: str) -> Path:
    """Where the checkpoints of a run are."""
    return project.layout.root / "runs" / reservation


def _lock_path(project: Project, reservation: str) -> Path:
    return project.layout.root / "runs" / f"{reservation}.lock"


def lock(project: Project, reservation: str) -> TextIO:
    """A file this process holds locked as long as the run lives, so that others can tell a dead run from a live one."""
    path = _lock_path(project, reservation)
    path.parent.mkdir(exist_ok=True)
    file = path.open("a", encoding="utf-8")  # not "w": the name in it is the holder's, until it is ours
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    file.truncate(0)
    file.write(f"{socket.gethostname()} {os.getpid()}\n")
    file.flush()
    return file


def relock(project: Project, entry: Entry) -> TextIO:
    """The lock of a run that was killed, if it is still open.

    Raises:
        Misuse: It is running, or was settled.
    """
    label, reservation = entry.body["run"], entry.body["reservation"]
    try:
        file = lock(project, reservation)
    except BlockingIOError:
        raise Misuse("this run is still running, in another process", where=label, fix="wait, or stop it") from None
    if reservation in _settled(project):
        unlock(project, reservation, file)
        raise Misuse("this run is settled, so that nothing can go on", where=label, fix="train a new version")
    return file


def unlock(project: Project, reservation: str, file: TextIO) -> None:
    """The run is over."""
    _lock_path(project, reservation).unlink(missing_ok=True)
    file.close()


def _settled(project: Project) -> set[str]:
    return {entry.body["reservation"] for entry in project.counted() if entry.kind == "settle"}


def _dead(project: Project) -> list[Entry]:
    """Reservations without settlement whose process, on this machine, is gone."""
    settled = _settled(project)
    dead = []
    for entry in project.counted():
        if entry.kind != "reserve" or entry.body["reservation"] in settled:
            continue
        path = _lock_path(project, entry.body["reservation"])
        if path.exists() and _free(path):
            dead.append(entry)
    return dead


def _free(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def interrupted(project: Project) -> list[Entry]:
    """Reservations of runs that were killed and can be resumed: there is a checkpoint, and no model yet."""
    finished = {
        entry.evidence.subject.name
        for entry in project.counted()
        if entry.kind == "evidence" and entry.evidence.kind == "training"
    }
    return [
        entry
        for entry in _dead(project)
        if entry.body["run"] not in finished and _can_go_on(folder(project, entry.body["reservation"]))
    ]


def _can_go_on(place: Path) -> bool:
    return any(place.glob("step-*.json")) or (place / STATE).exists()


def tunes(entry: Entry) -> bool:
    """Whether a reservation is one of a tuning."""
    return isinstance(entry.body["plan"], dict) and entry.body["plan"].get("mechanism") == "tuning"


def abandoned(project: Project) -> list[Entry]:
    """Reservations of runs that were killed and cannot be resumed."""
    waiting = {entry.index for entry in interrupted(project)}
    return [entry for entry in _dead(project) if entry.index not in waiting]


def waiting(project: Project, name: str, *, to_go_on: bool = True) -> Entry | None:
    """The reservation of the run ``name``, or of its newest version, if it was killed and can be resumed.

    Args:
        project: Where.
        name: ``credit-risk@1``, or ``credit-risk`` for the newest.
        to_go_on: False also finds runs that cannot be resumed: they were killed before their first checkpoint.
    """
    labels = {str(entry.body["run"]): entry for entry in (interrupted(project) if to_go_on else _dead(project))}
    same = [label for label in labels if name in (label, label.rpartition("@")[0])]
    return labels[max(same, key=lambda label: int(label.rpartition("@")[2]))] if same else None


def resumption(project: Project, entry: Entry) -> str:
    """The command by which whoever reserved a run goes on with it, to be pasted."""
    signer = entry.signer.person
    known = project.layout.identities()
    acts = os.environ.get("PELLUCID_IDENTITY") or (known[0] if len(known) == 1 else None)
    words = ("tune" if tunes(entry) else "train", entry.body["run"], "--resume")
    return command(*words, project=project.named, identity=signer if signer != acts else None)


def unfinished(project: Project) -> list[str]:
    """What runs that were killed left behind, in plain sentences; after each, what to do next on its own line."""
    waiting = {entry.index for entry in interrupted(project)}
    return [_tell(project, entry, waits=entry.index in waiting) for entry in _dead(project)]


def _tell(project: Project, entry: Entry, *, waits: bool) -> str:
    run, dataset = entry.body["run"], entry.body["dataset"]
    lost = "It can go on from its last checkpoint." if waits else "Nothing else was lost."
    following = resumption(project, entry) if waits else command("budget", dataset, project=project.named)
    return (
        f"run {run} was interrupted (killed, or the machine went down). Its whole plan, epsilon "
        f"{entry.body['epsilon']:g}, stays counted for {dataset}. {lost}\n  next: {following}"
    )


def settle(project: Project, label: str, reservation: str, *, status: str, steps: int) -> None:
    """Record what a run took, unless somebody gave it up meanwhile: then its whole plan counts, and stays counted.

    Settled before its end by whoever reserved it, it counts whole too: that settlement may say less than was taken.

    Args:
        project: Where.
        label: What it makes, as ``credit-risk@1``.
        reservation: Its name in the log.
        status: As of :data:`pellucid.privacy.spending.STATUSES`.
        steps: That were taken.
    """
    with project.writing() as writer:
        settled = [e for e in project.counted() if e.kind == "settle" and e.body["reservation"] == reservation]
        given_up = [e.signer.name for e in settled if e.body["status"] == "abandoned"]
        early = bool(settled) and not given_up
        if early:
            status, steps = "abandoned", _planned(project, reservation)
        if not given_up:
            fields = {"reservation": reservation, "status": status, "steps": steps}
            writer.append(seal_record("settle", fields, project.identity.signing, project.moment()))
    if given_up:
        tell(f"{label} was given up by {given_up[0]} while it ran: its whole plan stays counted")
    if early:
        tell(f"{label} was settled before it ended: its whole plan counts")


def _planned(project: Project, reservation: str) -> int:
    (entry,) = [e for e in project.counted() if e.kind == "reserve" and e.body["reservation"] == reservation]
    return planned_steps(entry)


def settle_abandoned(project: Project) -> None:
    """Record that abandoned runs count in full. Failure to do so changes nothing: they count in full unsettled too."""
    if not abandoned(project):
        return
    try:
        with project.writing() as writer:
            dead = abandoned(project)  # asked again with the log locked, so that two commands at once settle it once
            for entry in dead:
                fields = {
                    "reservation": entry.body["reservation"],
                    "status": "abandoned",
                    "steps": planned_steps(entry),
                }
                writer.append(seal_record("settle", fields, project.identity.signing, project.moment()))
    except PellucidError as error:
        sys.stderr.write(f"{error}\n")
        return
    for entry in dead:
        clear(project, entry.body["reservation"])
        _lock_path(project, entry.body["reservation"]).unlink(missing_ok=True)


def sweep(project: Project) -> None:
    """Remove what settled runs left behind whose process is gone."""
    left = [path.name for path in (project.layout.root / "runs").glob("*") if path.is_dir()]
    settled = _settled(project) if left else set()
    for name in left:
        held = _lock_path(project, name)
        if name in settled and (not held.exists() or _free(held)):
            with contextlib.suppress(OSError):  # of another user of this machine, who removes it
                clear(project, name)
                held.unlink(missing_ok=True)


def clear(project: Project, reservation: str) -> None:
    """Remove what a run that is settled kept to go on from: its checkpoints, or its state after the key to it."""
    destroy(folder(project, reservation))
    shutil.rmtree(folder(project, reservation), ignore_errors=True)
