"""Report: verified evidence in, one page that people read and one document that machines read out.

Nothing here measures anything. The page shows what the evidence says, how each number is covered by a privacy
guarantee, and says "not measured" where there is no evidence. The same input gives the same bytes, on any day.
"""

from pellucid.report.document import FORMAT, document, render_json
from pellucid.report.html import render_html
from pellucid.report.inputs import DecisionLine, Ledger, LedgerRun, ReportInput, VerificationCheck
from pellucid.report.summary import summary

__all__ = [
    "FORMAT",
    "DecisionLine",
    "Ledger",
    "LedgerRun",
    "ReportInput",
    "VerificationCheck",
    "document",
    "render_html",
    "render_json",
    "summary",
]
