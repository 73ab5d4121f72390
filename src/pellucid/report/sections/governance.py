"""Which model this is, who made it under which rules, and who was let in to the data."""

from __future__ import annotations

from typing import Final

from pellucid.report.blocks import ABSENT, Block, Cell, Prose, Section, Table, Verbatim, text
from pellucid.report.figures import exact, plain
from pellucid.report.inputs import DecisionLine, ReportInput
from pellucid.report.language import say
from pellucid.report.reading import Reader, how_table, others
from pellucid.report.sections.absent import kept_back, not_measured

__all__ = ["decisions", "identity"]

_KEY_RELEASE: Final = {
    "member": say(
        "member: the key that opens the data lies on a person's machine. Columns are kept apart by cryptography; "
        "purpose, budget and record are kept by the library only, so they bind whoever uses the library."
    ),
    "broker": say(
        "broker: a key service or a runner holds the key that opens the data. "
        "Without its decision there is no key, so purpose, budget and record are enforced as well."
    ),
}


def identity(report: ReportInput) -> Section:
    """Subject, keys, signers and provenance."""
    title, question = say("Identity and provenance"), say("Which model is this, who made it, and under which rules?")
    facts: list[tuple[Cell, ...]] = [
        (text(say("Model")), text(report.subject.name)),
        (text(say("SHA-256 of the weights")), text(report.subject.sha256, "code")),
        (text(say("Project")), text(report.project)),
        (
            text(say("Signed by")),
            text(", ".join(report.signers)) if report.signers else text(say("no one"), "bad"),
        ),
        (text(say("Release policy")), text(report.policy_name)),
        (text(say("SHA-256 of the release policy")), text(report.policy_sha256, "code")),
    ]
    blocks: list[Block] = []
    evidence = report.last("provenance")
    if evidence is None and report.withheld("provenance"):
        blocks.append(Prose(kept_back(report, "provenance"), tone="open"))
    elif evidence is None:
        blocks.append(
            Prose(
                say(
                    "How the model was made is not measured: there is no provenance evidence for this tier, so who "
                    "trained it, in which role and under which access policy is not shown."
                ),
                tone="open",
            )
        )
    else:
        reader = Reader.of(evidence)
        facts += [
            (text(say("Trained by")), reader.words("identity")),
            (text(say("In the roles")), reader.words("roles")),
            (text(say("Key release")), _key_release(reader)),
            (text(say("Access policy, SHA-256")), reader.code("policy", "sha256")),
            (text(say("Schema of the access policy, SHA-256")), reader.code("policy", "schema_sha256")),
            (text(say("Reservation in the ledger")), reader.code("reservation")),
            (
                text(say("Model factory")),
                text(say("none: built from a recipe or from code that was not named"))
                if reader.get("factory") is None
                else reader.code("factory"),
            ),
        ]
        facts += [
            (text(say("Version of {name}", name=name)), text(str(version), "code"))
            for name, version in sorted((reader.get("versions") or {}).items())
        ]
    columns = (say("What"), say("Value"))
    blocks.append(Table("identity-facts", say("Identity and provenance"), columns, tuple(facts), "facts"))
    blocks.append(Verbatim(say("The owner's key, the root of trust of this report"), plain(report.owner)))
    if evidence is not None:
        # decisions and ledger have sections of their own
        shown = ("identity", "roles", "key_release", "policy", "reservation", "factory", "versions")
        blocks += others(evidence, *shown, "decisions", "ledger")
        blocks.append(how_table(evidence))
    return Section("identity", title, question, "shown", tuple(blocks))


def _key_release(reader: Reader) -> Cell:
    release = reader.get("key_release")
    if release is None:
        return ABSENT
    return text(_KEY_RELEASE.get(str(release), say("{grade}: a grade not known here", grade=release)))


def decisions(report: ReportInput) -> Section:
    """Who was let in and who was not, by kind of decision; names are left out for the public tier."""
    title, question = say("Access decisions"), say("Who asked for the data, and what was answered?")
    if report.decisions is None:
        kind = "provenance" if report.withheld("provenance") else "decision"
        return not_measured(report, "decisions", title, question, kind, say("The log's decisions were not read."))
    if not report.decisions:
        words = say("The log holds no decision: under this checkpoint nobody asked for a column, and nobody got one.")
        return Section("decisions", title, question, "shown", (Prose(words),))
    named = report.tier != "public"
    groups: dict[tuple[str, ...], list[DecisionLine]] = {}
    for line in report.decisions:
        answer = "allowed" if line.allowed else "denied"
        who = line.identity if named else ""
        key = (who, answer, line.action, line.resource, line.purpose, ", ".join(line.policies))
        groups.setdefault(key, []).append(line)
    rows = []
    for (who, answer, action, resource, purpose, policies), lines in sorted(groups.items()):
        instants = sorted(line.at for line in lines)
        allowed = answer == "allowed"
        nothing = say("not recorded") if allowed else say("no policy allows it")
        rows.append(
            (
                text(who) if named else text(say("withheld")),
                text(say("✓ allowed"), "good") if allowed else text(say("✗ denied"), "bad"),
                text(action),
                text(resource),
                text(purpose or say("none given")),
                Cell(exact(len(lines)), len(lines), ("public",)),
                text(instants[-1], "code"),
                text(policies or nothing),
            )
        )
    columns = (
        *(say("Identity"), say("Answer"), say("Action"), say("Resource"), say("Purpose"), say("Times"), say("Last")),
        say("Decided by"),
    )
    words = say(
        "{count} decisions were recorded before any plaintext existed; {denied} were denials.",
        count=exact(len(report.decisions)),
        denied=exact(sum(not line.allowed for line in report.decisions)),
    )
    blocks = (Prose(words), Table("decisions-table", say("Decisions, grouped"), columns, tuple(rows)))
    return Section("decisions", title, question, "shown", blocks)
