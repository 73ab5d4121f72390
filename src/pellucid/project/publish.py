"""The last stage: bundle, report, check, verify."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pellucid import bundle as bundles
from pellucid import check as checks
from pellucid import report as reports
from pellucid.bundle import Bundle
from pellucid.errors import NotAdopted, PellucidError, Refused, Tampered
from pellucid.evidence import TIERS, Evidence, Tier, parse_canonical
from pellucid.keys import VerifyKey, b64
from pellucid.log.entries import Entry
from pellucid.project import card, changes, data
from pellucid.project.model import model_resource, models, resolve, trained_on
from pellucid.project.project import ACCESS_POLICY, ACCESS_SCHEMA, Project

__all__ = ["ROWS", "Published", "bundle", "policy_path", "report", "verify_project"]

ROWS: Final = "rows.pellucid.json"
"""The attachment for stewards, beside weights and steward reports."""


def bundle(project: Project, model: str, *, tier: str = "auditor") -> Bundle:
    """The evidence of a model for readers of ``tier``, with its proofs; also kept beside the weights.

    Raises:
        UnknownName: There is no such model.
        BadFile: There is no such tier.
        Refused: Somebody rejected the model, and readers of ``tier`` would not be told.
    """
    label = resolve(project, model)
    made = _build(project, label, tier)
    folder = project.layout.model(label)
    folder.mkdir(parents=True, exist_ok=True)
    name = "bundle.json" if tier == "auditor" else f"bundle.{tier}.json"
    write_whole(folder / name, made.to_bytes())
    return made


def _build(project: Project, label: str, tier: str) -> Bundle:
    allowed = bundles.up_to(tier)
    entries = project.counted()
    about = models(project)[label]
    digests = {trained_on(e)[1] for e in about if e.kind == "training"}
    ours = [e for e in entries if e.kind == "evidence" and _about(e.evidence, label, digests)]
    chosen = [e for e in ours if e.evidence.tier in allowed]
    _nothing_hushed_up(label, tier, [e for e in ours if e.evidence.kind == "review"])
    signers = {e.signer.line for e in chosen}
    trusted = [e.index for e in entries if _trusts(e, signers)]
    return bundles.build(project.log, about[0].subject, [e.index for e in chosen], trusted)


def _nothing_hushed_up(label: str, tier: str, reviews: Sequence[Entry]) -> None:
    """A rejection that stands, and that readers of ``tier`` would not be told of, stops what is made for them.

    Only who signed it takes it back: whom a review names is the word of whoever signed that one.
    """
    for entry in bundles.objections(reviews):
        if entry.evidence.tier not in bundles.up_to(tier):
            raise Refused(
                f"{entry.signer.person} rejected {label}, and what is made for {tier} readers would not say so",
                where=label,
                fix="make it for auditors, or settle the objection with the reviewer, who signs a new review",
            )


def fresh_bundle(project: Project, label: str) -> Bundle:
    """The bundle of a model as the log has it now, without keeping it."""
    return _build(project, label, "auditor")


def proof(project: Project, index: int, *, since: int | None = None) -> dict[str, Any]:
    """An entry with its inclusion proof, and on demand the proof that nothing before was changed.

    Raises:
        UnknownName: There is no such entry or size.
    """
    with project.log.reading() as snapshot:
        note = snapshot.checkpoint() or ""
        size = snapshot.size
        document: dict[str, Any] = {
            "format": "pellucid/proof@1",
            "envelope": parse_canonical(snapshot.entry(index), where=f"log entry {index}"),
            "index": index,
            "proof": [b64(h) for h in snapshot.inclusion(index, size)],
            "checkpoint": note,
        }
        if since is not None:
            document["since"] = {
                "size": since,
                "root": b64(snapshot.root(since)),
                "proof": [b64(h) for h in snapshot.consistency(since, size)],
            }
    return document


def _about(evidence: Evidence, label: str, data_digests: Set[str]) -> bool:
    if evidence.kind in ("dataset", "release"):
        return evidence.subject.sha256 in data_digests
    return evidence.subject.name == label


def _trusts(entry: Entry, signers: set[str]) -> bool:
    """Whether an entry belongs to the chain of trust: a grant to one of the signers, or a revocation.

    Of everybody: a waiver beside the bundle may be by somebody who signed no evidence.
    """
    if entry.kind == "grant":
        return entry.body["identity"]["verifier"] in signers
    return entry.kind == "revoke"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file complete or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def policy_path(project: Project, policy: Path | None) -> Path:
    """The release policy: the one named, else the project's."""
    return policy or project.layout.policies / "release.toml"


@dataclass(frozen=True, slots=True)
class Published:
    """What a report leaves behind."""

    html: Path
    json: Path
    bundle: Path
    summary: str
    notice: str | None = None


def report(
    project: Project,
    model: str,
    *,
    tier: str = "auditor",
    out: Path | None = None,
    policy: Path | None = None,
    lang: str = "en",
) -> Published:
    """Write ``report.html``, ``report.json`` and ``bundle.json`` for readers of ``tier``, in the language ``lang``.

    Raises:
        Denied: Who acts may not have reports of this model.
        BadFile: ``model.toml`` is not of its form.
        Tampered, NotTrusted: Its own evidence does not verify, so there is nothing to report.
    """
    label = resolve(project, model)
    training = next(e for e in models(project)[label] if e.kind == "training")
    sealed = data.dataset(project, trained_on(training)[0])
    project.decide("report", model_resource(label, sealed), training.values["purpose"])
    notice = card.publish(project, training.subject)
    changes.publish(project, training.subject)
    made = bundle(project, label, tier=tier)
    folder = out or project.layout.root / "reports" / label
    folder.mkdir(parents=True, exist_ok=True)
    published = render(made, [project.owner], policy_path(project, policy), tier, weights(project, label), lang=lang)
    paths = {name: folder / name for name in ("report.html", "report.json", "bundle.json")}
    for name, content in {**published, "bundle.json": made.to_bytes()}.items():
        if name in paths:
            write_whole(paths[name], content)
    rows = project.layout.model(label) / ROWS
    if tier == "steward" and rows.is_file():
        write_whole(folder / ROWS, rows.read_bytes())
    return Published(
        paths["report.html"], paths["report.json"], paths["bundle.json"], published["summary"].decode("utf-8"), notice
    )


def render(
    made: Bundle,
    owners: Sequence[VerifyKey],
    policy: Path,
    tier: str,
    weights_file: Path | None,
    *,
    lang: str = "en",
) -> dict[str, bytes]:
    """The report's files from a bundle and a policy alone: the same two give the same bytes."""
    verified = bundles.verify(made, owners)
    result = checks.check(made, policy, owners=owners, weights=weights_file)
    provenance = {e.kind: e for e in verified.evidence}.get("provenance")
    stated = provenance.values if provenance else {}
    view = reports.ReportInput(
        project=verified.project,
        subject=verified.subject,
        tier=_tier(tier),
        evidence=verified.evidence,
        findings=result.findings,
        exit_code=result.exit,
        policy_name=policy.name,
        policy_sha256=result.policy_sha256,
        checkpoint=made.checkpoint,
        log_size=verified.checkpoint.size,
        owner=verified.owner.line,
        signers=tuple(sorted(set(verified.signers))),
        verification=tuple(reports.VerificationCheck(**check.document()) for check in result.verification.checks),
        created=max(str(e.how.get("at", "")) for e in verified.evidence),
        ledger=reports.Ledger.from_document(stated["ledger"]) if "ledger" in stated else None,
        decisions=tuple(_line(each) for each in stated["decisions"]) if "decisions" in stated else None,
    )
    return {
        "report.html": reports.render_html(view, lang).encode("utf-8"),
        "report.json": reports.render_json(view, lang),
        "summary": "\n".join(reports.summary(view)).encode("utf-8"),
    }


def _tier(name: str) -> Tier:
    return next(tier for tier in TIERS if tier == name)


def _line(decision: Mapping[str, Any]) -> reports.DecisionLine:
    return reports.DecisionLine(
        at=decision["at"],
        identity=decision["identity"],
        action=decision["action"],
        resource=f"{decision['resource']['type']} {decision['resource']['name']}",
        purpose=decision["purpose"] or "",
        allowed=decision["allowed"],
        policies=tuple(decision["policies"]),
    )


def _holds(path: Path, project: Project) -> None:
    """A kept bundle verifies, and its checkpoint is one that this log went through: a log cut back shows here."""
    head = bundles.verify(bundles.read(path), [project.owner]).checkpoint
    if head.size > project.log.size or project.log.root(head.size) != head.root:
        raise Tampered("the log is not the one this bundle was made from: it was cut back or replaced", where=str(path))


def weights(project: Project, label: str) -> Path:
    """The weights file of a model."""
    return project.layout.model(label) / "weights.safetensors"


def verify_project(project: Project) -> list[dict[str, str]]:
    """Everything that must not have changed: log, adopted policies, manifests and sealed files, weights, bundles.

    Returns:
        One ``{name, status, detail}`` a check; status is ``pass`` or ``fail``.
    """
    results: list[dict[str, str]] = []

    def note(name: str, error: PellucidError | None, detail: str) -> None:
        status = "fail" if error is not None else "pass"
        results.append({"name": name, "status": status, "detail": str(error) if error is not None else detail})

    def attempt(name: str, detail: str, act: Any) -> None:
        try:
            note(name, None, act() or detail)
        except PellucidError as error:
            note(name, error, detail)

    from pellucid.log import verify as verify_log

    def log() -> str:
        verified = verify_log(project.log, project.membership.log_key, project.name)
        silent = [f"; entry {index} does not count: {why}" for index, why in project.ignored()]
        head = f"{verified.size} entries, root {verified.root.hex()[:16]}…, every signature and checkpoint holds"
        return head + "".join(silent[:20])

    def policy() -> str:
        if project.policy is None:
            raise NotAdopted("no policy is in force")
        return f"{ACCESS_POLICY} and {ACCESS_SCHEMA} are the adopted ones"

    attempt("log", "", log)
    attempt("policy", "", policy)
    for label, error in data.verify_files(project):
        note(f"data {label}", error, "manifest and every file are as logged")
    for label, evidence in models(project).items():
        file = weights(project, label)

        def same(file: Path = file, expected: str = evidence[0].subject.sha256) -> str:
            if bundles.weights_digest(file) != expected:
                raise Tampered("the weights are not the ones in the log", where=str(file))
            return "the weights are the ones in the log"

        attempt(f"weights {label}", "", same)
        rows = [each for each in evidence if each.kind == "attachment"]
        if rows:

            def kept_rows(beside: Path = file, expected: Any = rows[-1].values["sha256"]) -> str:
                path = beside.with_name(ROWS)
                if bundles.weights_digest(path) != expected:
                    raise Tampered("the rows for stewards are not the ones in the log", where=str(path))
                return "the encrypted rows for stewards are the ones in the log"

            attempt(f"rows {label}", "", kept_rows)
    kept = [*project.layout.root.glob("models/*/bundle*.json"), *project.layout.root.glob("reports/**/bundle*.json")]
    for path in sorted(kept):
        attempt(
            f"bundle {path.relative_to(project.layout.root)}",
            "signatures, proofs and grants hold, and this log went through its checkpoint",
            lambda path=path: _holds(path, project),
        )
    return results
