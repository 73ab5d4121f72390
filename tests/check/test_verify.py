from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pellucid.bundle import Bundle
from pellucid.check import VerifyResult, verify_bundle, verify_file
from pellucid.errors import BadFile
from pellucid.keys import SigningKey

NAMES = ["canonical", "owner", "checkpoint", "inclusion", "signatures", "grants", "subject", "epsilon", "weights"]


def status(result: VerifyResult) -> dict[str, str]:
    return {check.name: check.status for check in result.checks}


def failed(result: VerifyResult) -> list[str]:
    return [check.name for check in result.checks if check.status == "fail"]


def test_a_good_bundle_verifies_and_every_check_is_listed_once(
    make: Callable[..., Bundle], maker: Any, values: Any, epsilons: Any, tmp_path: Path
) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights of the model")
    result = verify_bundle(make(values), [maker.owner.verifier], weights=weights)
    assert [check.name for check in result.checks] == NAMES
    assert set(status(result).values()) == {"pass"}
    assert result.ok
    assert result.exit == 0
    assert result.document() == {
        "ok": True,
        "checks": [{"name": c.name, "status": "pass", "detail": c.detail} for c in result.checks],
        "epsilon": {"claimed": epsilons[0], "pld": epsilons[0], "rdp": epsilons[1]},
    }


def test_weights_that_were_not_given_are_not_checked_and_the_result_says_so(
    make: Callable[..., Bundle], maker: Any, values: Any
) -> None:
    result = verify_bundle(make(values), [maker.owner.verifier])
    assert status(result)["weights"] == "not checked"
    assert result.ok


def test_other_weights_fail_and_weights_that_are_not_there_are_an_error_of_use(
    make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"others")
    result = verify_bundle(make(values), [maker.owner.verifier], weights=other)
    assert failed(result) == ["weights"]
    assert result.exit == 3
    with pytest.raises(BadFile):
        verify_bundle(make(values), [maker.owner.verifier], weights=tmp_path / "none")


def test_without_a_trusted_owner_nothing_is_verified(make: Callable[..., Bundle], values: Any) -> None:
    with pytest.raises(BadFile, match="no trusted owner"):
        verify_bundle(make(values), [])


def swap(items: tuple[Any, ...], index: int, **changes: Any) -> tuple[Any, ...]:
    return tuple(dataclasses.replace(item, **changes) if i == index else item for i, item in enumerate(items))


def test_each_broken_part_fails_its_own_check_and_what_follows_is_not_checked(
    make: Callable[..., Bundle], maker: Any, values: Any
) -> None:
    good = make(values)
    strange = SigningKey("credit/eve", b"\7" * 32)
    forged = {**good.evidence[0].envelope}
    forged["signatures"] = [{**forged["signatures"][0], "sig": good.evidence[1].envelope["signatures"][0]["sig"]}]
    broken = {
        "owner": (good, [strange.verifier]),
        "checkpoint": (dataclasses.replace(good, checkpoint=good.checkpoint.replace("credit\n", "credits\n")), None),
        "inclusion": (dataclasses.replace(good, evidence=swap(good.evidence, 0, envelope=forged)), None),
        "grants": (make(values, signer=strange), None),
        "subject": (dataclasses.replace(good, subject=dataclasses.replace(good.subject, name="other@1")), None),
    }
    for name, (bundle, owners) in broken.items():
        result = verify_bundle(bundle, owners or [maker.owner.verifier])
        assert failed(result) == [name]
        assert [check.name for check in result.checks] == NAMES
        after = NAMES[NAMES.index(name) + 1 :]
        assert {status(result)[each] for each in after} == {"not checked"}
        assert result.exit == 3
        assert result.verified is None
        assert result.document()["epsilon"] == {"claimed": None, "pld": None, "rdp": None}


def test_a_reader_may_not_sign_evidence(make: Callable[..., Bundle], maker: Any, values: Any) -> None:
    assert failed(verify_bundle(make(values, role="reader"), [maker.owner.verifier])) == ["grants"]


def test_a_changed_byte_of_a_file_is_a_failed_check(
    make: Callable[..., Bundle], maker: Any, values: Any, tmp_path: Path
) -> None:
    data = make(values).to_bytes()
    path = tmp_path / "bundle.json"
    path.write_bytes(data)
    assert verify_file(path, [maker.owner.verifier]).ok
    for changed in (data + b"\n", data.replace(b'"format":', b'"format" :'), b"", b"[]", data[:-1], b"\xff"):
        path.write_bytes(changed)
        result = verify_file(path, [maker.owner.verifier])
        assert failed(result) == ["canonical"]
        assert result.exit == 3
    for place in range(0, len(data), len(data) // 150):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert not verify_file(path, [maker.owner.verifier]).ok
    with pytest.raises(BadFile):
        verify_file(tmp_path / "none.json", [maker.owner.verifier])


def event(sample_rate: str, noise_multiplier: str, count: Any) -> dict[str, Any]:
    fields = {"sample_rate": sample_rate, "noise_multiplier": noise_multiplier, "count": count}
    return {"events": [{"kind": "poisson_gaussian", **fields}]}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epsilon": 0.001}, "the events compose to"),
        ({"epsilon": -1}, "the events compose to"),
        ({"epsilon": "0.1"}, "epsilon is not a finite number"),
        ({"epsilon": True}, "epsilon is not a finite number"),
        ({"epsilon": None}, "epsilon is not a finite number"),
        ({"delta": 0}, "delta is not between"),
        ({"delta": 1}, "delta is not between"),
        ({"delta": "1e-5"}, "delta is not a finite number"),
        ({"delta": 1e-9}, "the events compose to"),
        ({"steps": 99}, "another number of steps"),
        ({"steps": "100"}, "steps is not a finite number"),
        ({"sample_rate": 0.001}, "sample_rate is not that of the events"),
        ({"noise_multiplier": 2}, "noise_multiplier is not that of the events"),
        ({"adjacency": "zero-out"}, "adjacency"),
        ({"events": []}, "events is not a list"),
        ({"events": {}}, "events is not a list"),
        ({"events": [3]}, "count is not a whole number"),
        ({"events": [{"kind": "laplace", "sample_rate": "0.01", "noise_multiplier": "1.1", "count": 100}]}, ""),
        (event("x", "1.1", 100), ""),
        (event("0.01", "nan", 100), ""),
        (event("0.01", "1.1", 1e9), ""),
        (event("0.01", "1.1", 0), ""),
        ({"second_opinion": {"accountant": "rdp", "epsilon": 0.001}}, "second opinion"),
        ({"second_opinion": {"accountant": "gdp", "epsilon": 9}}, "second opinion"),
        ({"second_opinion": {"accountant": "pld", "epsilon": 9}}, "second opinion"),
        ({"accountant": "prv"}, "cannot compose"),
        ({"accountant": None}, "cannot compose"),
        ({"adjacency": None}, "adjacency"),
        ({"adjacency": "replace-one"}, "the events compose to"),
        ({"second_opinion": "rdp"}, "second opinion"),
    ],
)  # fmt: skip
def test_a_privacy_claim_that_is_not_what_its_events_compose_to_fails(
    make: Callable[..., Bundle], maker: Any, values: Any, changes: dict[str, Any], says: str
) -> None:
    values["privacy"].update(changes)
    result = verify_bundle(make(values), [maker.owner.verifier])
    assert failed(result) == ["epsilon"]
    assert says in next(check.detail for check in result.checks if check.name == "epsilon")
    assert set(result.unverified) == {"privacy"}
    json.dumps(result.document(), allow_nan=False)


def test_a_claim_above_the_recomputed_epsilon_is_honest_and_a_millionth_below_is_rounding(
    make: Callable[..., Bundle], maker: Any, values: Any, epsilons: Any
) -> None:
    for shift, ok in ((1.0, True), (-0.9e-6, True), (-3e-6, False)):
        values["privacy"]["epsilon"] = epsilons[0] + shift
        assert verify_bundle(make(values), [maker.owner.verifier]).ok is ok


def test_more_steps_than_were_accounted_for_fail(make: Callable[..., Bundle], maker: Any, values: Any) -> None:
    values["training"]["steps"] = 101
    assert failed(verify_bundle(make(values), [maker.owner.verifier])) == ["epsilon"]
    values["training"]["steps"] = 60  # a stopped run still claims the whole plan
    assert verify_bundle(make(values), [maker.owner.verifier]).ok


def test_without_privacy_evidence_epsilon_is_not_checked(make: Callable[..., Bundle], maker: Any, values: Any) -> None:
    del values["privacy"]
    result = verify_bundle(make(values), [maker.owner.verifier])
    assert status(result)["epsilon"] == "not checked"
    assert result.ok


@pytest.mark.parametrize("dataset", ["applicants", {}, None, []])
def test_signed_evidence_of_a_wrong_shape_is_a_failed_check_and_not_a_crash(
    make: Callable[..., Bundle], maker: Any, values: Any, dataset: Any
) -> None:
    values["training"]["dataset"] = dataset
    assert failed(verify_bundle(make(values), [maker.owner.verifier])) == ["subject"]


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("training", {"batch": 2240}, "sample_rate is not what"),
        ("training", {"test": 0.9}, "sample_rate is not what"),
        ("training", {"epochs": 2}, "steps is not the 200"),
        ("training", {"batch": None}, "make no plan"),
        ("training", {"batch": 224.5}, "make no plan"),
        ("training", {"epochs": [1]}, "make no plan"),
        ("training", {"test": 1}, "make no plan"),
        ("dataset", {"units": 3200}, "sample_rate is not what"),
        ("dataset", {"units": 100_000}, "delta is not below"),
        ("dataset", {"units": 0}, "delta is not below"),
        ("dataset", {"units": "32000"}, "delta is not below"),
    ],
)  # fmt: skip
def test_a_rate_or_steps_that_do_not_follow_from_the_run_fail(
    make: Callable[..., Bundle], maker: Any, values: Any, kind: str, changes: dict[str, Any], says: str
) -> None:
    values[kind].update(changes)
    result = verify_bundle(make(values), [maker.owner.verifier])
    assert failed(result) == ["epsilon"]
    assert says in next(check.detail for check in result.checks if check.name == "epsilon")


def test_every_event_has_the_rate_of_the_run(make: Callable[..., Bundle], maker: Any, values: Any) -> None:
    first = {"kind": "poisson_gaussian", "sample_rate": "0.01", "noise_multiplier": "1.1", "count": 1}
    values["privacy"]["events"] = [first, {**first, "sample_rate": "0.001", "count": 99}]
    assert failed(verify_bundle(make(values), [maker.owner.verifier])) == ["epsilon"]


@pytest.mark.parametrize("kind", ["training", "dataset"])
def test_the_epsilon_check_says_what_was_not_bound(
    make: Callable[..., Bundle], maker: Any, values: Any, kind: str
) -> None:
    del values[kind]
    if kind == "training":
        del values["dataset"]  # bound by the training statement alone
    result = verify_bundle(make(values), [maker.owner.verifier])
    assert result.ok
    detail = next(check.detail for check in result.checks if check.name == "epsilon")
    assert "not bound to the run" in detail
    assert f"no {kind}" in detail


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
def test_a_pipe_or_a_folder_is_refused_without_being_read(maker: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(BadFile, match="not a regular file"):
            verify_file(path, [maker.owner.verifier])


def test_a_file_of_more_than_64_mib_is_a_failed_check(maker: Any, tmp_path: Path) -> None:
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate((64 << 20) + 1)
    assert failed(verify_file(tmp_path / "big.json", [maker.owner.verifier])) == ["canonical"]
