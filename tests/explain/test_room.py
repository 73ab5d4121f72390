"""The room as a whole: its names, what importing it costs, public rows, and the corridor on one model."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import pellucid.explain as room
from pellucid.errors import BadData
from pellucid.explain import public_rows
from pellucid.schema import Encoding, Schema


def test_every_public_name_is_there_and_no_other() -> None:
    assert set(room.__all__) == set(room._HOME)
    for name in room.__all__:
        assert getattr(room, name).__doc__
    with pytest.raises(AttributeError, match="no attribute"):
        _ = room.nonsense


def test_importing_the_room_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'captum', 'shap', 'fairlearn', 'pandas', 'sklearn'}"
    code = f"import sys, pellucid.explain; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_rows_stand_in_the_declared_ranges(people: Encoding) -> None:
    x = public_rows(people, 500)
    assert x.shape == (500, 7)
    assert x.dtype == torch.float32
    assert x[:, 0].abs().max() <= 1
    assert x[:, 0].std() > 0.4
    assert x[:, 1:4].sum(dim=1).tolist() == [1.0] * 500  # one job
    assert set(x[:, 5].tolist()) == {0.0, 1.0}
    missing = x[:, 6] == 1
    assert 100 < int(missing.sum()) < 400
    assert (x[missing, 5] == 0).all()
    assert torch.equal(x, public_rows(people, 500))
    assert not torch.equal(x, public_rows(people, 500, seed=1))


def test_public_rows_know_bins_and_missing_categories() -> None:
    schema = Schema.parse(
        """
        [dataset]
        target = "t"
        units = 100
        purposes = ["p"]
        [columns.t]
        type = "boolean"
        sensitivity = "personal"
        [columns.income]
        type = "number"
        bounds = [0, 100]
        bins = [20, 50]
        missing = "category"
        sensitivity = "personal"
        """
    )
    x = public_rows(Encoding.of(schema), 200)
    assert x.sum(dim=1).tolist() == [1.0] * 200
    assert (x.sum(dim=0) > 20).all()
    with pytest.raises(BadData, match="at least one row"):
        public_rows(Encoding.of(schema), 0)
