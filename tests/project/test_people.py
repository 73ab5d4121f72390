"""Who may do what: roles, grants that end, revocation, adoption, swapped keys."""

from __future__ import annotations

import datetime as dt
import shutil

import pandas as pd
import pytest
from tests.project.conftest import COST, FEATURES, PASSPHRASE, PURPOSE, Place, found, make_frame, make_plan

from pellucid import Project
from pellucid.errors import BadFile, Denied, Misuse, NotAdopted, NotTrusted, PellucidError, UnknownName, WrongPassphrase
from pellucid.project import people, publish
from pellucid.project import project as project_module
from pellucid.project.model import load

AUDIT = "fairness audit"


def denials(place: Place) -> list[str]:
    return [
        e.body["resource"]["name"]
        for e in place.open().entries()
        if e.kind == "decision" and e.body["allowed"] is False
    ]


def test_a_scientist_cannot_read_special_columns_or_identifiers(sealed: Place) -> None:
    scientist = sealed.open("sid")
    for column in ("gender", "person"):
        with pytest.raises(Denied, match=column) as caught:
            scientist.read("applicants", ["age", column], purpose=PURPOSE)
        assert caught.value.exit_code == 1
    assert denials(sealed) == ["applicants@1/gender", "applicants@1/person"]


def test_columns_are_separated_by_cryptography_not_only_by_the_policy(sealed: Place) -> None:
    """Even where the decision is skipped, a scientist holds no key that opens the group of a special column."""
    from pellucid.project import data

    scientist = sealed.open("sid")
    stored = data.dataset(scientist, "applicants")
    group = next(g for g in stored.manifest.groups if "gender" in g.columns)
    with pytest.raises(Denied, match="no key for gender"):
        data._group_key(scientist, stored, group, stored.manifest.wrapped[group.id])


def test_an_auditor_reads_special_columns_but_no_identifiers(sealed: Place) -> None:
    auditor = sealed.open("kim")
    table = auditor.read("applicants", ["gender"], purpose=AUDIT)
    assert table.column("gender").to_pylist() == make_frame()["gender"].tolist()
    with pytest.raises(Denied):
        auditor.read("applicants", ["person"], purpose=AUDIT)


def test_a_steward_reads_what_was_sealed(sealed: Place) -> None:
    names = ["person", "age", "income", "note"]
    table = sealed.open("sam").read("applicants", names, purpose=PURPOSE)
    pd.testing.assert_frame_equal(table.to_pandas(), make_frame()[names], check_dtype=False)


def test_every_plaintext_has_a_decision_before_it(sealed: Place) -> None:
    before = sealed.open().log.size
    sealed.open("kim").read("applicants", ["age", "gender"], purpose=AUDIT)
    decided = [e.body for e in sealed.open().entries()[before:] if e.kind == "decision"]
    assert {name for body in decided for name in body["resource"]["name"].partition("/")[2].split(",")} >= {
        "age",
        "gender",
    }
    assert all(body["allowed"] and body["identity"] == "kim" and body["purpose"] == AUDIT for body in decided)


def test_a_reader_has_reports_and_no_data(trained: Place) -> None:
    reader = trained.open("rea")
    published = publish.report(reader, "tiny", tier="public", policy=trained.policy)
    assert published.html.stat().st_size > 1000
    with pytest.raises(Denied):
        reader.read("applicants", ["age"], purpose=PURPOSE)
    with pytest.raises(Denied):
        load(reader, "tiny").evaluate()
    with pytest.raises(Denied):
        reader.run("mine", data="applicants", purpose=PURPOSE, plan=make_plan(), features=FEATURES).__enter__()


def test_an_auditor_trains_nothing_and_a_scientist_seals_nothing(sealed: Place) -> None:
    with pytest.raises(Denied):
        sealed.train(who="kim")
    assert not sealed.open().budget("applicants").runs
    scientist = sealed.open("sid")
    with pytest.raises(Denied):
        scientist.seal("applicants", make_frame(), schema=sealed.schema)
    with pytest.raises(Denied):
        people.grant(scientist, "auditor", "sid")
    assert [path.name for path in (sealed.root / "data" / "applicants").iterdir()] == ["1"]


def everything(project: Project) -> list[tuple[str, object]]:
    """All verbs, each as something that a test may call."""
    place = Place(project.layout.root)
    return [
        ("read", lambda: project.read("applicants", ["age"], purpose=PURPOSE)),
        ("seal", lambda: project.seal("applicants", make_frame(), schema=place.schema)),
        ("train", lambda: project.run("m", data="applicants", purpose=PURPOSE, plan=make_plan()).__enter__()),
        ("explain", lambda: load(project, "tiny").explain()),
        ("attack", lambda: load(project, "tiny").attack()),
        ("report", lambda: publish.report(project, "tiny", policy=place.policy)),
        ("grant", lambda: people.grant(project, "auditor", "ned")),
        ("adopt", lambda: people.adopt(project)),
        ("record", lambda: project.record("adopt", what="access.cedar", sha256="0" * 64)),
    ]


def test_who_holds_no_role_can_do_nothing(trained: Place) -> None:
    before = trained.state()
    for name, act in everything(trained.open("ned")):
        with pytest.raises(Denied):
            act()  # type: ignore[operator]
        assert trained.state() == before, name


def test_a_revoked_member_can_do_nothing(trained: Place) -> None:
    scientist = trained.open("sid")  # opened before the revocation: what is gone is gone here too
    scientist.read("applicants", ["age"], purpose=PURPOSE)
    people.revoke(trained.open(), "scientist", "sid")
    before = trained.state()
    for project in (scientist, trained.open("sid")):
        for name, act in everything(project):
            with pytest.raises(Denied):
                act()  # type: ignore[operator]
            assert trained.state() == before, name


def test_what_is_sealed_after_a_revocation_is_out_of_reach_by_cryptography(sealed: Place) -> None:
    from pellucid.project import data

    owner = sealed.open()
    old = set(sealed.open("sid").membership.wrapped_role_keys("sid"))
    people.revoke(owner, "scientist", "sid")
    owner.seal("applicants", make_frame(), schema=sealed.schema)
    newest = data.dataset(owner, "applicants@2")
    held = {f"{role}@{generation}" for role, generation, _ in old}
    assert held == {"scientist@1"}
    assert all("scientist@1" not in wrapped for wrapped in newest.manifest.wrapped.values())


def test_the_others_go_on_after_a_revocation(sealed: Place) -> None:
    owner = sealed.open()
    people.grant(owner, "scientist", "ned")
    people.revoke(owner, "scientist", "sid")
    assert sealed.train(who="ned") == "tiny@1"


def test_a_grant_that_has_ended_grants_nothing(sealed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    last = project_module.today()
    people.grant(sealed.open(), "scientist", "ned", expires=last)
    sealed.open("ned").read("applicants", ["age"], purpose=PURPOSE)
    later = dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), dt.UTC)
    monkeypatch.setattr(project_module, "now", lambda: later)
    with pytest.raises(Denied):
        sealed.open("ned").read("applicants", ["age"], purpose=PURPOSE)
    with pytest.raises(Misuse, match="expired already"):
        people.grant(sealed.open(), "scientist", "ned", expires=last)


def test_an_edited_policy_that_nobody_adopted_denies_everything(sealed: Place) -> None:
    policy = sealed.root / "policies" / "access.cedar"
    policy.write_text(policy.read_text(encoding="utf-8") + "\n// seen\n", encoding="utf-8")
    before = sealed.state()
    for who in ("ana", "sid"):
        with pytest.raises(NotAdopted) as caught:
            sealed.open(who).read("applicants", ["age"], purpose=PURPOSE)
        assert caught.value.exit_code == 3
        assert "access.cedar" in str(caught.value)
    assert sealed.state() == before
    with pytest.raises(Denied):
        people.adopt(sealed.open("sid"))
    people.adopt(sealed.open())
    assert sealed.open("sid").read("applicants", ["age"], purpose=PURPOSE).num_rows == 2950


def test_an_adoption_by_another_process_is_in_force_at_once(sealed: Place) -> None:
    scientist = sealed.open("sid")
    scientist.read("applicants", ["age"], purpose=PURPOSE)
    policy = sealed.root / "policies" / "access.cedar"
    forbidden = '\n@id("nobody-reads")\n@because("a test")\nforbid (principal, action == Action::"read", resource);\n'
    policy.write_text(policy.read_text(encoding="utf-8") + forbidden, encoding="utf-8")
    people.adopt(sealed.open())
    with pytest.raises(Denied, match=r"nobody-reads|a test"):
        scientist.read("applicants", ["age"], purpose=PURPOSE)


def test_a_changed_schema_needs_an_owner(sealed: Place) -> None:
    changed = sealed.root / "schemas" / "changed.toml"
    changed.write_text(sealed.schema.read_text(encoding="utf-8").replace("[17, 90]", "[16, 91]"), encoding="utf-8")
    before = sealed.state()
    with pytest.raises(NotAdopted):
        sealed.open("sam").seal("applicants", make_frame(), schema=changed)
    assert sealed.state() == before
    people.adopt(sealed.open(), schema=changed, dataset="applicants")
    assert sealed.open("sam").seal("applicants", make_frame(), schema=changed) == "applicants@2"


def test_swapped_identity_files_are_noticed(sealed: Place) -> None:
    folder = sealed.root / "identities"
    shutil.copyfile(folder / "sam.json", folder / "sid.json")
    before = sealed.state()
    with pytest.raises(BadFile, match="sam"):
        sealed.open("sid").read("applicants", ["age"], purpose=PURPOSE)
    assert sealed.state() == before


def test_an_identity_made_anew_under_a_granted_name_is_nobody(sealed: Place) -> None:
    from pellucid.keys import create_identity

    (sealed.root / "identities" / "sid.json").unlink()
    owner = sealed.open()
    create_identity(owner.layout.identity("sid"), "sid", PASSPHRASE, project="tiny", cost=COST)
    before = sealed.state()
    with pytest.raises(NotTrusted):
        sealed.open("sid").read("applicants", ["age"], purpose=PURPOSE)
    assert sealed.state() == before


def test_another_owner_key_or_another_log_is_not_trusted(
    sealed: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = found(tmp_path_factory.mktemp("other") / "tiny")
    for name in ("owner.pub", "log/log.sqlite"):
        kept = (sealed.root / name).read_bytes()
        shutil.copyfile(other.root / name, sealed.root / name)
        with pytest.raises(NotTrusted) as caught:
            sealed.open()
        assert caught.value.exit_code == 3
        (sealed.root / name).write_bytes(kept)
    assert sealed.open().name == "tiny"


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda place: place.open("nobody").identity, UnknownName),
        (lambda place: Project.open(place.root).acting, UnknownName),
        (lambda place: place.open("sid", "wrong").identity, WrongPassphrase),
        (lambda place: place.open("sid", "").identity, WrongPassphrase),
        (lambda place: people.grant(place.open(), "king", "ned"), UnknownName),
        (lambda place: people.grant(place.open(), "auditor", "nobody"), UnknownName),
        (lambda place: people.grant(place.open(), "scientist", "sid"), Misuse),
        (lambda place: people.grant(place.open(), "owner", "sid"), Misuse),
        (lambda place: people.revoke(place.open(), "auditor", "sid"), UnknownName),
        (lambda place: people.revoke(place.open(), "owner", "ana"), Misuse),
        (lambda place: people.new_identity(place.open(), "sid", PASSPHRASE, cost=COST), BadFile),
        (lambda place: people.new_identity(place.open(), "../up", PASSPHRASE, cost=COST), BadFile),
        (lambda place: people.new_identity(place.open(), "new", "", cost=COST), WrongPassphrase),
        (lambda place: Project.init(place.root, owner="ana", passphrase=PASSPHRASE, cost=COST), Misuse),
        (lambda place: Project.init(place.root / "n", owner="ana", passphrase="", cost=COST), WrongPassphrase),
        (lambda place: Project.open(place.root / "data"), UnknownName),
    ],
)
def test_bad_use_of_people_changes_nothing(sealed: Place, act: object, error: type[PellucidError]) -> None:
    before = sealed.state()
    with pytest.raises(error) as caught:
        act(sealed)  # type: ignore[operator]
    assert caught.value.exit_code == 2
    assert PASSPHRASE not in str(caught.value)
    assert sealed.state() == before
