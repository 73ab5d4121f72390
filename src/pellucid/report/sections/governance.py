"""Who, on whose authority, and what people still have to say: identity, intended use, decisions."""

from __future__ import annotations

from typing import Final

from pellucid.report.blocks import ABSENT, Block, Cell, Prose, Section, Table, Verbatim, text
from pellucid.report.figures import exact, plain
from pellucid.report.inputs import DecisionLine, ReportInput
from pellucid.report.reading import Reader, how_table, others
from pellucid.report.sections.absent import not_measured

__all__ = ["decisions", "identity"]

_KEY_RELEASE: Final = {
    "member": (
        "member: the key that opens the data lies on a person's machine. Columns are kept apart by cryptography; "
        "purpose, budget and record are kept by the library only, so they bind whoever uses the library."
    ),
    "broker": (
        "broker: a key service or a runner holds the key that opens the data. "
        "Without its decision there is no key, so purpose, budget and record are enforced as well."
    ),
}


def identity(report: ReportInput) -> Section:
    """Subject, keys, signers and provenance."""
    title, question = "Identity and provenance", "Which model is this, who made it, and under which rules?"
    facts: list[tuple[Cell, ...]] = [
        (text("Model"), text(report.subject.name)),
        (text("SHA-256 of the weights"), text(report.subject.sha256, "code")),
        (text("Project"), text(report.project)),
        (text("Signed by"), text(", ".join(report.signers) or "no one", "" if report.signers else "bad")),
        (text("Release policy"), text(report.policy_name)),
        (text("SHA-256 of the release policy"), text(report.policy_sha256, "code")),
    ]
    blocks: list[Block] = []
    evidence = report.last("provenance")
    if evidence is None:
        blocks.append(
            Prose(
                "How the model was made is not measured: there is no provenance evidence for this tier, so who trained "
                "it, in which role and under which access policy is not shown.",
                tone="open",
            )
        )
    else:
        reader = Reader.of(evidence)
        release = reader.get("key_release")
        facts += [
            (text("Trained by"), reader.words("identity")),
            (text("In the roles"), reader.words("roles")),
            (
                text("Key release"),
                ABSENT
                if release is None
                else text(_KEY_RELEASE.get(str(release), f"{release}: a grade not known here")),
            ),
            (text("Access policy, SHA-256"), reader.code("policy", "sha256")),
            (text("Schema of the access policy, SHA-256"), reader.code("policy", "schema_sha256")),
            (text("Reservation in the ledger"), reader.code("reservation")),
            (
                text("Model factory"),
                text("none: built from a recipe or from code that was not named")
                if reader.get("factory") is None
                else reader.code("factory"),
            ),
        ]
        facts += [
            (text(f"Version of {name}"), text(str(version), "code"))
            for name, version in sorted((reader.get("versions") or {}).items())
        ]
    table = Table("identity-facts", "Identity and provenance", ("What", "Value"), tuple(facts), "facts")
    blocks.append(table)
    blocks.append(Verbatim("The owner's key, the root of trust of this report", plain(report.owner)))
    if evidence is not None:
        # decisions and ledger have sections of their own
        shown = (
            "identity",
            "roles",
            "key_release",
            "policy",
            "reservation",
            "factory",
            "versions",
            "decisions",
            "ledger",
        )
        blocks += others(evidence, *shown)
        blocks.append(how_table(evidence))
    return Section("identity", title, question, "shown", tuple(blocks))


def decisions(report: ReportInput) -> Section:
    """Who was let in and who was not, by kind of decision; names are left out for the public tier."""
    title, question = "Access decisions", "Who asked for the data, and what was answered?"
    if report.decisions is None:
        return not_measured("decisions", title, question, "decision", "The log's decisions were not read.")
    if not report.decisions:
        words = "The log holds no decision: under this checkpoint nobody asked for a column, and nobody got one."
        return Section("decisions", title, question, "shown", (Prose(words),))
    named = report.tier != "public"
    groups: dict[tuple[str, ...], list[DecisionLine]] = {}
    for line in report.decisions:
        policies = ", ".join(line.policies) or "no policy allows it" if not line.allowed else ", ".join(line.policies)
        answer = "allowed" if line.allowed else "denied"
        who = line.identity if named else "withheld"
        groups.setdefault((who, answer, line.action, line.resource, line.purpose, policies), []).append(line)
    rows = []
    for (who, answer, action, resource, purpose, policies), lines in sorted(groups.items()):
        instants = sorted(line.at for line in lines)
        rows.append(
            (
                text(who),
                text("✓ allowed" if answer == "allowed" else "✗ denied", "good" if answer == "allowed" else "bad"),
                text(action),
                text(resource),
                text(purpose or "none given"),
                Cell(exact(len(lines)), len(lines), ("public",)),
                text(instants[-1], "code"),
                text(policies or "not recorded"),
            )
        )
    columns = ("Identity", "Answer", "Action", "Resource", "Purpose", "Times", "Last", "Decided by")
    denied = sum(not line.allowed for line in report.decisions)
    count = exact(len(report.decisions))
    words = f"{count} decisions were recorded before any plaintext existed; {exact(denied)} were denials."
    blocks = (Prose(words), Table("decisions-table", "Decisions, grouped", columns, tuple(rows)))
    return Section("decisions", title, question, "shown", blocks)
