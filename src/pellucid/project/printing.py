"""A report on paper: ``report.pdf``, printed from ``report.html`` by a browser that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from pellucid.errors import BadFile, MissingExtra

__all__ = ["BROWSERS", "browser", "print_pdf"]

VARIABLE: Final = "PELLUCID_BROWSER"
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
SECONDS: Final = 120
# nothing is loaded or sent: the page has no address in it, and the browser is told not to call anywhere
_QUIET: Final = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-pdf-header-footer"),
)


def browser() -> str:
    """The browser to print with: ``PELLUCID_BROWSER``, else the first of :data:`BROWSERS` on the path.

    Raises:
        MissingExtra: There is none.
    """
    named = os.environ.get(VARIABLE)
    found = next((path for name in ((named,) if named else BROWSERS) if (path := shutil.which(name))), None)
    if found is None:
        raise MissingExtra(
            f"the browser {named} is not there" if named else "printing needs Chromium or Chrome, and there is none",
            fix=f"install Chromium, or name a browser in {VARIABLE}; report.html prints from any browser",
        )
    return found


def print_pdf(page: Path) -> Path:
    """Print ``page`` beside itself as PDF; whole or not at all.

    Raises:
        MissingExtra: There is no browser.
        BadFile: The browser could not print it.
    """
    target = page.with_suffix(".pdf")
    address = page.resolve().as_uri()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "report.pdf"
        command = [browser(), *_QUIET, f"--user-data-dir={folder}/profile", f"--print-to-pdf={made}", address]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium has no sandbox for root; the page is our own file
        try:
            subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
            content = made.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise BadFile(
                "the browser could not print this page", where=str(page), fix="open it in a browser and print it there"
            ) from error
        if not content.startswith(b"%PDF-"):
            raise BadFile("what the browser printed is no PDF", where=str(page), fix="print it by hand")
    from pellucid.project.publish import write_whole

    write_whole(target, content)
    return target
