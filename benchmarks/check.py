"""How long `pellucid check` takes on a bundle of twelve pieces of evidence, imports included, without torch.

Runs the command in a process of its own, in the verifier's environment (`make setup`), in turns with a bare start of
Python, so that a busy machine slows both alike. Processor time is printed beside the wall clock: that is what the
command costs whatever else the machine does.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
VERIFIER: Final = ROOT / ".venv-verify" / "bin" / "python"
KINDS: Final = 12


def main() -> None:
    """Print medians, and their ratio to starting Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--imports", action="store_true", help="also print the most expensive imports of a check")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        words = _bundle(Path(folder))
        python, check = (str(VERIFIER), "-c", "pass"), (str(VERIFIER), "-m", "pellucid", *words)
        cache = {"XDG_CACHE_HOME": folder}
        cold = [_time(check, {"XDG_CACHE_HOME": str(Path(folder) / f"cache-{n}")}) for n in range(options.runs)]
        _time(check, cache)
        turns = [(_time(python, cache), _time(check, cache)) for _ in range(options.runs)]
        bare, cached = ([turn[i] for turn in turns] for i in (0, 1))
        print(f"a bundle of {KINDS} pieces of evidence, medians of {options.runs} runs")
        print(f"{'':<34}{'wall':>10}{'processor':>12}{'of Python':>12}")
        base = statistics.median(cpu for _, cpu in bare)
        for name, each in (
            ("python -c pass", bare),
            ("check, epsilon recomputed", cold),
            ("check, as the second time", cached),
        ):
            wall, cpu = (statistics.median(values) for values in zip(*each, strict=True))
            print(f"{name:<34}{wall:>8.2f} s{cpu:>10.2f} s{cpu / base:>11.0f}x")
        if options.imports:
            print(_imports(check, cache))


def _bundle(folder: Path) -> list[str]:
    """Write bundle, policy and key; returns the words of the command."""
    maker, values = _made()
    from pellucid.evidence import Subject, digest

    bundle = maker.bundle(list(values.items()), Subject("credit-risk@1", digest(b"weights")))
    (folder / "bundle.json").write_bytes(bundle.to_bytes())
    (folder / "owner.pub").write_text(maker.owner.verifier.line)
    policy = ROOT / "policies" / "release.toml"
    return ["check", str(folder / "bundle.json"), "--policy", str(policy), "--key", str(folder / "owner.pub")]


def _made() -> tuple[Any, dict[str, Any]]:
    """The tests' maker of bundles, and evidence of twelve kinds that meets the policy."""
    spec = importlib.util.spec_from_file_location("made", ROOT / "tests" / "check" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["made"] = module
    spec.loader.exec_module(module)
    from pellucid.privacy.accounting import epsilon

    epsilons = tuple(epsilon([module.EVENT], 1e-5, kind) for kind in ("pld", "rdp"))
    values = module.evidence_values(epsilons)
    values |= {"slices": {"slices": []}, "validity": {"passes": True}, "review": {"verdict": "approve"}}
    assert len(values) == KINDS
    return module.Maker(), values


def _time(command: tuple[str, ...], variables: dict[str, str]) -> tuple[float, float]:
    """Wall clock and processor time of a command that must succeed, in seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env={**os.environ, **variables}, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _imports(command: tuple[str, ...], variables: dict[str, str]) -> str:
    """The ten imports that take longest, with what they import."""
    timed = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(timed, env={**os.environ, **variables}, check=True, capture_output=True, text=True)
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line]
    found = [(int(total), name.strip()) for _, total, name in rows if total.strip().isdigit()]
    return "\n".join(f"{total / 1000:>8.0f} ms  {name}" for total, name in sorted(found, reverse=True)[:10])


if __name__ == "__main__":
    main()
