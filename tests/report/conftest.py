"""A report about a model like the demo's: UCI Adult, an MLP at epsilon 3. Figures are of its kind, not measured."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from pellucid.evidence import Coverage, Estimate, Evidence, Finding, Subject
from pellucid.report import DecisionLine, Ledger, ReportInput, VerificationCheck
from pellucid.report.sections.people import PARTS

MODEL = Subject("credit-risk@1", hashlib.sha256(b"weights of the sample").hexdigest())
DATA = Subject("applicants@1", hashlib.sha256(b"manifest of the sample").hexdigest())
TEST_UNITS = 9600
OWNER = "credit-owner+0a1b2c3d+AaBbCcDdEeFfGgHhIiJjKkLlMmNnOoPpQqRrSsTtUuVv"
CHECKPOINT = (
    "credit.log\n41\nq0pY1u3o0E5bZ8m1xJm2c9tK7hVn4sQ6dR8wL0aB2fE=\n\n— credit.log 5e6f7a8b+AAECAwQFBgcICQoLDA0ODw==\n"
)
FEATURES = [
    "age",
    "workclass",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
]


def estimate(value: float, half: float, n: int = TEST_UNITS) -> dict[str, Any]:
    return Estimate(value, value - half, value + half, n).values()


def share(value: float, n: int) -> dict[str, Any]:
    """A rate with its Wilson interval."""
    z2 = 1.96**2
    middle = (value + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 / (1 + z2 / n) * math.sqrt(value * (1 - value) / n + z2 / (4 * n * n))
    return Estimate(value, middle - half, middle + half, n).values()


def group(name: str, n: int, rates: tuple[float, float, float, float, float]) -> dict[str, Any]:
    auc, accuracy, selected, true_positive, false_positive = rates
    return {
        "group": name,
        "n": n,
        "auc": estimate(auc, 1.1 / math.sqrt(n), n),
        "accuracy": share(accuracy, n),
        "selection_rate": share(selected, n),
        "true_positive_rate": share(true_positive, max(n // 4, 10)),
        "false_positive_rate": share(false_positive, max(3 * n // 4, 10)),
    }


VALUES: dict[str, dict[str, Any]] = {
    "dataset": {
        "name": "applicants",
        "version": 1,
        "units": 32000,
        "unit": "row",
        "target": "loan",
        "columns": [
            *({"name": name, "type": "category", "sensitivity": "personal"} for name in FEATURES),
            {"name": "ethnicity", "type": "category", "sensitivity": "special"},
            {"name": "gender", "type": "category", "sensitivity": "special"},
            {"name": "loan", "type": "category", "sensitivity": "personal"},
        ],
        "purposes": ["credit scoring", "fairness audit"],
        "retention": "2031-12-31",
        "manifest": DATA.sha256,
    },
    "training": {
        "architecture": "mlp [64]",
        "parameters": 3778,
        "features": FEATURES,
        "target": "loan",
        "classes": ["<=50K", ">50K"],
        "dataset": {"name": "applicants", "version": 1, "sha256": DATA.sha256},
        "purpose": "credit scoring",
        "status": "complete",
        "batch": 512,
        "epochs": 10,
        "steps": 438,
        "optimizer": {"name": "SGD", "learning_rate": 0.5},
        "recipe": {
            "model": {"kind": "mlp", "hidden": [64]},
            "train": {"epochs": 10, "batch": 512, "learning_rate": 0.5, "clip": 1.0},
            "privacy": {"epsilon": 3.0, "delta": 1e-5},
            "split": {"test": 0.3},
        },
    },
    "privacy": {
        "epsilon": 2.999871,
        "delta": 1e-5,
        "noise_multiplier": 0.8337,
        "sample_rate": 0.022857,
        "steps": 438,
        "max_grad_norm": 1.0,
        "adjacency": "add-or-remove-one",
        "unit": "row",
        "accountant": "pld",
        "second_opinion": {"accountant": "rdp", "epsilon": 3.412905},
        "epsilon_at": {"1e-05": 2.999871, "1e-06": 3.4103},
        "curve": [[0.0, 0.21], [1.5, 0.0062], [2.999871, 1e-5], [4.499807, 3.1e-9]],
        "events": [
            {
                "kind": "poisson_gaussian",
                "sample_rate": "0.022857142857142857",
                "noise_multiplier": "0.8337",
                "count": 438,
            }
        ],
    },
    "provenance": {
        "identity": "ana",
        "roles": ["scientist"],
        "key_release": "member",
        "policy": {"sha256": hashlib.sha256(b"policy").hexdigest(), "schema_sha256": hashlib.sha256(b"s").hexdigest()},
        "reservation": hashlib.sha256(b"reservation").hexdigest()[:16],
        "factory": "pellucid.train.recipes:mlp",
        "versions": {"pellucid": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "opacus": "1.6.0"},
    },
    "evaluation": {
        "auc": estimate(0.9012, 0.0061),
        "accuracy": share(0.8471, TEST_UNITS),
        "base_rate": share(0.2408, TEST_UNITS),
        "majority_accuracy": share(0.7592, TEST_UNITS),
        "roc": [{"fpr": round(i / 25, 6), "tpr": round((i / 25) ** 0.16, 6) if i else 0.0} for i in range(26)],
        "threshold": 0.5,
    },
    "fairness": {
        "minimum_cell": 10,
        "columns": {
            "gender": {
                "groups": [
                    group("Female", 3230, (0.9103, 0.9215, 0.0712, 0.4821, 0.0239)),
                    group("Male", 6530, (0.8851, 0.8103, 0.2519, 0.6174, 0.0978)),
                ],
                "suppressed": [],
                "demographic_parity_difference": estimate(0.1807, 0.0142),
                "equalized_odds_difference": estimate(0.1353, 0.0541),
            },
            "ethnicity": {
                "groups": [
                    group("Amer-Indian-Eskimo", 90, (0.8402, 0.9011, 0.0889, 0.4801, 0.0421)),
                    group("Asian-Pac-Islander", 310, (0.8931, 0.8329, 0.2201, 0.6113, 0.0789)),
                    {
                        k: v
                        for k, v in group("Black", 930, (0.9087, 0.9121, 0.0802, 0.4902, 0.0231)).items()
                        if k != "auc"
                    },
                    group("White", 8340, (0.8979, 0.8402, 0.2062, 0.6071, 0.0781)),
                ],
                "suppressed": ["Other"],
                "demographic_parity_difference": estimate(0.1399, 0.0623),
                "equalized_odds_difference": estimate(0.1312, 0.1201),
            },
        },
    },
    "calibration": {
        "ece": estimate(0.0214, 0.0049),
        "brier": estimate(0.1063, 0.0031),
        "bins": [
            {
                "low": round(i / 10, 6),
                "high": round((i + 1) / 10, 6),
                "predicted": round(i / 10 + 0.047, 6),
                "observed": share(min(0.97, max(0.02, i / 10 + 0.03 + 0.04 * math.sin(i))), 400 + 3000 // (i + 1)),
            }
            for i in range(10)
        ],
    },
    "explanation": {
        "method": "integrated_gradients",
        "baseline": "midpoint of the declared bounds, no category",
        "importance": {
            name: estimate(value, half)
            for name, value, half in zip(
                FEATURES,
                [0.0213, -0.0006, 0.0041, 0.0402, 0.0561, 0.0187, 0.0342, 0.0467, 0.0062, 0.0131],
                [0.0031, 0.0011, 0.0018, 0.0044, 0.0052, 0.0029, 0.0041, 0.0048, 0.0016, 0.0024],
                strict=True,
            )
        },
        "attribution": {
            **dict(zip(FEATURES[:5], [0.3311, 0.0402, -0.1021, 0.5123, 0.6918], strict=True)),
            **dict(zip(FEATURES[5:], [0.2207, 0.4813, 0.3908, 0.0611, 0.1914], strict=True)),
        },
        "completeness_gap": 0.004213,
        "importance_method": "permutation, drop in AUC",
    },
    "validity": {
        "completeness_gap_max": 0.008112,
        "agreement": {"spearman": 0.878788, "top3": 0.666667},
        "randomisation": {"spearman": 0.112, "spearman_absolute": 0.231},
    },
    "attack": {
        "epsilon_lower": 0.0412,
        "epsilon_ceiling": 6.1803,
        "delta": 1e-5,
        "confidence": 0.95,
        "auc": estimate(0.5043, 0.0071),
        "method": "loss threshold",
    },
}
COVERED: dict[str, Coverage] = {
    "dataset": "public",
    "training": "public",
    "privacy": "public",
    "provenance": "public",
    "explanation": "uncovered",
}
ERROR: dict[str, dict[str, Any]] = {
    "explanation": {
        "completeness_gap_max": 0.008112,
        "attribution_standard_error": {name: round(0.002 + 0.0007 * i, 6) for i, name in enumerate(FEATURES)},
    },
}
HOW: dict[str, dict[str, Any]] = {
    "evaluation": {"interval": "DeLong for AUC, Wilson for rates", "confidence": 0.95, "data": "test split"},
    "fairness": {
        "resamples": 1000,
        "interval": "bootstrap percentile for gaps, Wilson for rates",
        "library": "fairlearn 0.13",
    },
    "explanation": {"steps": 64, "library": "captum 0.9.0", "permutations": 5},
}


def evidence(kind: str, **change: Any) -> Evidence:
    values = {**VALUES[kind], **change.pop("values", {})}
    subject = DATA if kind == "dataset" else MODEL
    how = HOW.get(kind, {"made_by": f"pellucid 0.1.0, {kind}"})
    made = Evidence(kind, subject, values, how, COVERED.get(kind, "uncovered"), ERROR.get(kind, {}), tier="auditor")
    return dataclasses.replace(made, **change)


FINDINGS = (
    Finding(
        "privacy.epsilon",
        "pass",
        "error",
        "privacy.epsilon <= 3.0 && privacy.delta <= 1e-5",
        "decision of the data protection officer, 2026-03",
        {"privacy.epsilon": 2.999871, "privacy.delta": 1e-5},
    ),
    Finding(
        "evaluation.auc",
        "pass",
        "error",
        "evaluation.auc.low >= 0.85",
        "below this the old score card is better",
        {"evaluation.auc.low": 0.8951},
    ),
    Finding(
        "fairness.parity",
        "fail",
        "warning",
        "fairness.columns.gender.demographic_parity_difference.high <= 0.15",
        "a gap this wide needs a written argument",
        {"fairness.columns.gender.demographic_parity_difference.high": 0.1949},
        "argue it in a review, or train again",
    ),
    Finding(
        "explanation.complete",
        "pass",
        "error",
        "explanation.completeness_gap <= 0.01",
        "an attribution that does not add up explains nothing",
        {"explanation.completeness_gap": 0.004213},
    ),
    Finding(
        "provenance.key_release",
        "pass",
        "error",
        'provenance.key_release in ["member", "broker"]',
        "the grade is written down",
        {"provenance.key_release": "member"},
    ),
    Finding(
        "robustness.missing",
        "unmeasured",
        "warning",
        "robustness.missing_feature_drop <= 0.05",
        "forms come in with gaps",
        {"robustness.missing_feature_drop": None},
        "measure robustness",
    ),
)
LEDGER = {
    "dataset": "applicants",
    "epsilon": 8.0,
    "delta": 1e-5,
    "spent": 4.1022,
    "reserved": 1.2011,
    "left": 2.6967,
    "runs": [
        {"run": "credit-risk@1", "epsilon": 2.999871, "delta": 1e-5, "steps": 438, "status": "complete"},
        {"run": "baseline@1", "epsilon": 1.999702, "delta": 1e-5, "steps": 201, "status": "stopped"},
        {"run": "credit-risk@2", "epsilon": 1.499914, "delta": 1e-5, "steps": None, "status": "reserved"},
    ],
}
DECISIONS = (
    DecisionLine("2026-11-02T09:11:04Z", "ana", "train", "applicants", "credit scoring", True, ("scientists-train",)),
    DecisionLine(
        "2026-11-02T09:11:05Z", "ana", "read", "applicants/age", "credit scoring", True, ("scientists-train",)
    ),
    DecisionLine("2026-11-02T09:12:40Z", "ana", "read", "applicants/gender", "credit scoring", False, ()),
    DecisionLine("2026-11-02T09:13:02Z", "eve", "export", "applicants", "", False, ("no-export",)),
    DecisionLine("2026-11-02T09:14:00Z", "eve", "export", "applicants", "", False, ("no-export",)),
)


@pytest.fixture
def sample() -> Callable[..., ReportInput]:
    """Builds the sample report; ``without`` leaves kinds of evidence out, other keywords replace fields."""

    def build(*, without: tuple[str, ...] = (), **change: Any) -> ReportInput:
        fields: dict[str, Any] = {
            "project": "credit",
            "subject": MODEL,
            "tier": "auditor",
            "evidence": tuple(evidence(kind) for kind in VALUES if kind not in without),
            "findings": FINDINGS,
            "exit_code": 0,
            "policy_name": "release.toml",
            "policy_sha256": hashlib.sha256(b"release").hexdigest(),
            "checkpoint": CHECKPOINT,
            "log_size": 41,
            "owner": OWNER,
            "signers": ("ana",),
            "verification": (
                VerificationCheck("canonical bytes", "pass", "every byte is the one that was signed"),
                VerificationCheck("signatures", "pass", "10 of 10 envelopes"),
                VerificationCheck("inclusion", "pass", "10 of 10 in a log of 41 entries"),
                VerificationCheck("epsilon", "pass", "claimed 2.999871, PLD 2.99987, RDP 3.4129"),
                VerificationCheck("weights", "not checked", "name them with --weights"),
            ),
            "created": "2026-11-02T09:30:00Z",
            "ledger": Ledger.from_document(LEDGER),
            "decisions": DECISIONS,
        }
        return ReportInput(**{**fields, **change})

    return build


@pytest.fixture
def make_evidence() -> Callable[..., Evidence]:
    """Evidence of a kind as in the sample; ``values`` replaces some values, other keywords replace fields."""
    return evidence


HOSTILE = (
    "<script>document.title='owned'</script>\"'><img src=x onerror=document.title='owned'>\u202e&amp;{{ 7*7 }}\x1b[2J"
)


def hostile(value: Any) -> Any:
    """``value`` with every text in it, keys of open maps included, replaced by hostile ones."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list):
        return [hostile(item) for item in value]
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    return value


@pytest.fixture
def attacked(sample: Callable[..., Any]) -> Any:
    """The sample with hostile text in every field that takes text."""
    report = sample()
    model = Subject(HOSTILE, report.subject.sha256)
    items = []
    for item in report.evidence:
        values = hostile(dict(item.values))
        if item.kind == "fairness":
            values["columns"] = {HOSTILE + name: column for name, column in values["columns"].items()}
        if item.kind == "explanation":
            values["importance"] = {HOSTILE + name: e for name, e in values["importance"].items()}
            values["attribution"] = {HOSTILE + name: e for name, e in values["attribution"].items()}
            values["distribution"] = {
                "edges": [-1, 0, 1],
                "columns": {HOSTILE: [{"cell": 0, "level": HOSTILE, "n": 20}]},
            }
            values["case"] = {"of": {HOSTILE: HOSTILE}, "base": 0, "answer": 1, "attribution": {HOSTILE: 1}}
            values["effects"] = [{"field": HOSTILE, "points": [0], "at": [HOSTILE], "change": [{"value": 1}]}]
            values["tokens"] = [{"token": HOSTILE, "attribution": 1}]
            values["class"] = HOSTILE
            shape = {"adds": [1, 2], "names": [HOSTILE, HOSTILE], "missing": 1}
            values["readout"] = {"kind": "additive", "intercept": 1, "columns": {HOSTILE: shape}}
        if item.kind == "privacy":  # events that an accountant would read, so that the guarantee is said in words
            values["events"] = item.values["events"]
            values |= {"unit_rows": 2, "sampling": HOSTILE, "odometer": {"epsilon": 1}}
            values["tuning"] = {"distribution": HOSTILE, "trials": 2, "hold": 0}
        how = {HOSTILE: HOSTILE, "x": [HOSTILE]}
        subject = dataclasses.replace(item.subject, name=HOSTILE)
        items.append(dataclasses.replace(item, values=values, how=how, error={HOSTILE: HOSTILE}, subject=subject))
    card = {section: dict.fromkeys(keys, HOSTILE) for section, keys in PARTS.items()}
    items.append(
        Evidence("card", model, {"file": {"name": HOSTILE, "sha256": HOSTILE}, **card}, {"at": HOSTILE}, "public")
    )
    since = {"since": {"name": HOSTILE, "sha256": HOSTILE}, "before": {HOSTILE: 1}, "features_added": [HOSTILE]}
    items.append(Evidence("change", model, since, {}, "uncovered"))
    other = {"with": {"name": HOSTILE, "sha256": HOSTILE}, "architecture": HOSTILE, "readable": False}
    items.append(Evidence("comparison", model, {**other, "numbers": {HOSTILE: 1}}, {HOSTILE: HOSTILE}, "uncovered"))
    tuned = {"score": {"name": HOSTILE, "on": HOSTILE}, "space": {HOSTILE: [HOSTILE], "x": {"low": 1, "high": 2}}}
    items.append(Evidence("tuning", model, tuned, {}, "public"))
    items.append(Evidence("unsafe", model, {"door": HOSTILE}, {}, "public"))
    items.append(Evidence("review", model, {"verdict": HOSTILE, HOSTILE: HOSTILE}, {}, "public"))
    items.append(Evidence("slices", model, {HOSTILE: [{HOSTILE: HOSTILE}]}, {}, "uncovered"))
    runs = tuple(dataclasses.replace(run, run=HOSTILE, status=HOSTILE) for run in report.ledger.runs)
    return dataclasses.replace(
        report,
        project=HOSTILE,
        subject=model,
        evidence=tuple(items),
        findings=(Finding(HOSTILE, "fail", "error", HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, HOSTILE),),
        exit_code=1,
        policy_name=HOSTILE,
        policy_sha256=HOSTILE,
        checkpoint=HOSTILE,
        owner=HOSTILE,
        signers=(HOSTILE,),
        verification=(VerificationCheck(HOSTILE, "pass", HOSTILE),),
        ledger=dataclasses.replace(report.ledger, dataset=HOSTILE, runs=runs),
        decisions=(DecisionLine(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, True, (HOSTILE,)),),
    )


VOID = frozenset(["meta", "link", "br", "wbr", "hr", "img", "input"])


class Page(HTMLParser):
    """A strict reader of a page: nesting is checked while it is read."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.captions: dict[str, str] = {}
        self.styles = ""
        self.words = ""
        self._row: list[str] | None = None
        self._table = ""
        self._quiet = 0
        self.feed(html)
        self.close()
        assert not self.stack, f"left open: {self.stack}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"<{tag}> has an attribute twice"
        self.elements.append((tag, found))
        if tag not in VOID:
            self.stack.append(tag)
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(int(tag[1]))
        if tag == "table":
            self._table = str(found["id"])
            self.tables[self._table] = []
        if tag == "tr":
            self._row = []
            self.tables[self._table].append(self._row)
        if tag in {"th", "td"} and self._row is not None:
            self._row.append("")
        if "tag" in (found.get("class") or "").split():
            self._quiet = len(self.stack)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag not in VOID
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack[-1] == tag, f"</{tag}> closes <{self.stack[-1]}>"
        if self._quiet == len(self.stack):
            self._quiet = 0
        self.stack.pop()
        if tag == "tr":
            self._row = None

    def handle_data(self, data: str) -> None:
        if "style" in self.stack:
            self.styles += data
            return
        if "script" in self.stack:
            return
        self.words += data
        if self._quiet:
            return
        if self._row and self.stack[-1] != "tr":
            self._row[-1] += data
        if "caption" in self.stack:
            self.captions[self._table] = self.captions.get(self._table, "") + data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def parse() -> Callable[[str], Page]:
    """Reads a page and fails where it is not well formed."""
    return Page
