"""What the ledger costs: a long one read by `pellucid budget`, a long composition, and the gate inside the loop.

    python benchmarks/ledger.py [--entries 10000] [--runs 5]

``pellucid budget`` runs in processes of its own, on a ledger of so many entries and on one of a single run, in turns:
the difference is what the ledger itself takes beyond start-up. Half of the entries reserve and half settle, each
signed; the log is a real one, in SQLite.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from governance import PURPOSE, SCHEMA
from governance import table as rows

import pellucid
from pellucid.log.entries import seal_record
from pellucid.privacy import Plan
from pellucid.project.gate import Gate

PASSPHRASE: Final = "benchmark"  # noqa: S105 - of a project that lives as long as the benchmark
LOOKS: Final = 200_000
MIXED: Final = [
    {"kind": "poisson_gaussian", "sample_rate": "0.01", "noise_multiplier": "1.1", "count": 4000},
    {"kind": "poisson_gaussian", "sample_rate": "0.02", "noise_multiplier": "1.4", "count": 3000},
    {"kind": "gaussian", "noise_multiplier": "300", "count": 2000},
    {"kind": "laplace", "noise_multiplier": "2000", "count": 1000},
]
COMPOSE: Final = (
    "import time; from pellucid.privacy import accounting; accounting.epsilon("
    "[{'kind': 'gaussian', 'noise_multiplier': '30', 'count': 1}], 1e-5);"
    f"start = time.perf_counter(); accounting.epsilon({MIXED!r}, 1e-5); print(time.perf_counter() - start)"
)


def main() -> None:
    """Print medians, and what a long ledger takes above a short one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        short, long = project(place / "short", 2), project(place / "long", options.entries)
        cache = {"XDG_CACHE_HOME": str(place / "cache")}
        for each in (short, long):
            budget(each, cache)  # what accountants found is remembered from here on
        turns = [(budget(short, cache), budget(long, cache)) for _ in range(options.runs)]
        less, more = (statistics.median(turn[i] for turn in turns) for i in (0, 1))
        print(f"pellucid budget, medians of {options.runs} turns")
        print(f"{'a ledger of 2 entries':<40}{less:>8.2f} s")
        print(f"{f'a ledger of {options.entries} entries':<40}{more:>8.2f} s")
        print(f"{'beyond start-up (needed: 0.5 s)':<40}{more - less:>8.2f} s")
        first, *later = (composed(cache) for _ in range(options.runs + 1))
        print(f"10,000 steps of {len(MIXED)} mixed events, once imported")
        print(f"{'the first time':<40}{first:>8.2f} s")
        print(f"{'cached (needed: 1 s)':<40}{statistics.median(later) * 1e3:>8.2f} ms")
        with pellucid.Project.open(long, identity="olivia", passphrase=PASSPHRASE) as opened:
            gate = Gate(opened, "none", clock=lambda: 0.0)  # looks when first asked, and then no more
            start = time.perf_counter()
            gate.ended()
            looked = time.perf_counter() - start
            asked, nothing = per_call(gate.ended), per_call(lambda: None)
        print("the gate, a step")
        print(f"{'between two looks (needed: 5 us)':<40}{(asked - nothing) * 1e6:>8.2f} us")
        print(f"{'a look at this log, every 2 s':<40}{looked * 1e3:>8.2f} ms")


def project(root: Path, entries: int) -> Path:
    """A project whose ledger has so many entries: runs that were reserved and settled."""
    plan = Plan.calibrate(epsilon=0.05, delta=1e-6, units=len(rows()), test=0.1, batch=1000, epochs=1, clip=1.0)
    with pellucid.Project.init(root, owner="olivia", passphrase=PASSPHRASE, name="benchmark") as made:
        made.seal("rows", rows(), schema=pellucid.Schema.parse(SCHEMA.replace("epsilon = 20.0", "epsilon = 500.0")))
        with made.writing() as writer:
            for number in range(1, entries // 2 + 1):
                name = secrets.token_hex(8)
                fields: dict[str, Any] = {
                    "reservation": name,
                    "dataset": "rows",
                    "run": f"model@{number}",
                    "plan": plan.record(),
                    "events": plan.events,
                    "epsilon": plan.epsilon,
                    "delta": plan.delta,
                    "purpose": PURPOSE,
                }
                writer.append(seal_record("reserve", fields, made.identity.signing, made.moment()))
                done = {"reservation": name, "status": "complete", "steps": plan.steps}
                writer.append(seal_record("settle", done, made.identity.signing, made.moment()))
    return root


def budget(root: Path, environment: dict[str, str]) -> float:
    """Seconds that ``pellucid budget`` takes, as a process."""
    words = ["budget", "rows", "--json", "--project", str(root), "--as", "olivia"]
    known = {**os.environ, **environment, "PELLUCID_PASSPHRASE": PASSPHRASE}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pellucid", *words], env=known, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def composed(environment: dict[str, str]) -> float:
    """Seconds that a composition takes in a process that has imported the accountants."""
    known = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", COMPOSE], env=known, check=True, capture_output=True, text=True)
    return float(done.stdout)


def per_call(act: Callable[[], object]) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(LOOKS):
        act()
    return (time.perf_counter() - start) / LOOKS


if __name__ == "__main__":
    main()
