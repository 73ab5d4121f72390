"""The doctor: what makes a model unsound or slow under DP-SGD, and what stands in for it."""

from __future__ import annotations

from pellucid.train.doctor.diagnosis import Diagnosis, Note, render
from pellucid.train.doctor.examination import examine
from pellucid.train.doctor.patient import diagnose

__all__ = ["Diagnosis", "Note", "diagnose", "examine", "render"]
