"""A model's evidence in forms that other tools read. Pure: verified evidence in, bytes out, nothing measured."""

from pellucid.report.exports.cyclonedx import cyclonedx
from pellucid.report.exports.huggingface import huggingface
from pellucid.report.exports.statements import Statements
from pellucid.report.exports.tracking import Tracked, tracked

__all__ = ["Statements", "Tracked", "cyclonedx", "huggingface", "tracked"]
