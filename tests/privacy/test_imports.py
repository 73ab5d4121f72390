"""What importing the room brings in: nothing heavy, so that a verb that needs none of it does not pay."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pellucid.privacy


def test_importing_the_room_and_making_a_plan_by_hand_loads_nothing_heavy():
    code = (
        "import json, sys; from pellucid.privacy import Plan, Ledger;"
        "Plan(epsilon=3, delta=1e-5, units=32000, test=.3, batch=512, epochs=20, clip=1, noise_multiplier=1.2).events;"
        "Ledger.fold([], 'applicants').document(); print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"dp_accounting", "numpy", "scipy", "torch", "pandas", "sqlalchemy", "pyarrow"}


def test_every_public_name_is_there_and_no_other():
    for name in pellucid.privacy.__all__:
        assert getattr(pellucid.privacy, name) is not None
    with pytest.raises(AttributeError, match="lodger"):
        pellucid.privacy.lodger  # noqa: B018  # looking it up is the test
