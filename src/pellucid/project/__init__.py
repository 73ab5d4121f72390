"""The project: the only wiring. One file a stage; rooms meet here, as evidence and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.project.project import Project as Project
    from pellucid.project.run import Run as Run

__all__ = ["Project", "Run"]


def __getattr__(name: str) -> Any:
    """``Project`` and ``Run``, imported when first named."""
    if name == "Project":
        from pellucid.project.project import Project

        return Project
    if name == "Run":
        from pellucid.project.run import Run

        return Run
    raise AttributeError(name)
