"""``python -m pellucid`` and the command ``pellucid``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from pellucid.cli import run

        sys.exit(run())
    except KeyboardInterrupt:  # before there was a command to stop
        sys.exit(130)


if __name__ == "__main__":
    main()
