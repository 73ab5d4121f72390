"""The room as a whole: its names, its laziness, its doors, and the accuracy that it is for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import roc_auc_score

from pellucid import train
from pellucid.privacy import Plan
from pellucid.schema import Encoding, Schema

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_there() -> None:
    for name in train.__all__:
        assert getattr(train, name) is not None
    assert set(dir(train)) == set(train.__all__)
    with pytest.raises(AttributeError, match="no attribute"):
        _ = train.nothing


def test_importing_the_room_imports_no_torch() -> None:
    code = "import sys, pellucid.train as t; t.versions(); assert not {'torch', 'opacus', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['opacus'] = None\n"
        "from pellucid.errors import MissingExtra\n"
        "import pellucid.train as t\n"
        "try: t.private\n"
        "except MissingExtra as e: assert 'opacus' in e.what and 'pellucid[train]' in e.fix\n"
        "else: raise SystemExit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_versions_name_what_computed() -> None:
    assert {"python", "pellucid", "torch", "opacus"} <= train.versions().keys()
    assert train.ENGINE.startswith("pellucid ")


@pytest.mark.slow
def test_the_corridor_reaches_its_accuracy() -> None:
    """AUC of at least 0.89 at epsilon 3 on UCI Adult."""
    spec = importlib.util.find_spec("xai")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data" / "census.csv"
    table = pa.Table.from_pandas(pd.read_csv(path, index_col=0, skipinitialspace=True), preserve_index=False)
    schema = Schema.read(ROOT / "schemas" / "applicants.toml")
    recipe = train.Recipe.read(ROOT / "recipes" / "credit.toml")
    encoding = Encoding.of(schema, recipe.features)
    x, y = train.encode_features(table, encoding), train.encode_target(table, encoding)
    test = torch.from_numpy(np.random.default_rng(0).random(len(x)) < recipe.test)
    plan = Plan.calibrate(**recipe.plan_arguments(schema.units))
    assert plan.epsilon <= 3.0
    module = train.build(recipe, encoding)
    model, optimizer, batches = train.private(module, recipe.make_optimizer(module), plan, x[~test], y[~test])
    train.fit(model, optimizer, batches)
    batches.close()
    assert batches.steps_taken == plan.steps
    assert roc_auc_score(y[test], train.predict(train.standard(model), x[test])[:, 1]) >= 0.89
