"""Make reports/sample/ anew: walk the demo, keep its bundle, key and policy, and render the report from them alone.

The golden test (tests/claims) renders the same three files again and compares byte by byte.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from pellucid import bundle
from pellucid.cli import run
from pellucid.demo import walk
from pellucid.keys import VerifyKey
from pellucid.project.publish import render

HERE = Path(__file__).resolve().parent.parent / "reports" / "sample"


def main(project: Path | None = None) -> None:
    """Walk the demo (or take a project that it made), and write the sample."""
    with tempfile.TemporaryDirectory() as scratch:
        root = project or Path(scratch) / "demo"
        if project is None:
            walk(root, run)
        HERE.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / "reports" / "credit-risk" / "bundle.json", HERE / "bundle.json")
        shutil.copyfile(root / "owner.pub", HERE / "owner.pub")
        shutil.copyfile(root / "policies" / "release.toml", HERE / "release.toml")
    owner = VerifyKey.parse((HERE / "owner.pub").read_text(encoding="ascii"))
    files = render(bundle.read(HERE / "bundle.json"), [owner], HERE / "release.toml", "auditor", None)
    for name in ("report.html", "report.json"):
        (HERE / name).write_bytes(files[name])
    chinese = render(bundle.read(HERE / "bundle.json"), [owner], HERE / "release.toml", "auditor", None, lang="zh")
    (HERE / "report.zh.html").write_bytes(chinese["report.html"])
    print(f"wrote {', '.join(sorted(path.name for path in HERE.iterdir()))} in reports/sample")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
