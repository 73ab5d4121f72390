from __future__ import annotations

from pathlib import Path

import pytest

from pellucid.check import ReleasePolicy
from pellucid.errors import BadFile
from pellucid.evidence import digest
from pellucid.keys import SigningKey

RULE = '[[require]]\nid = "a"\nthat = "privacy.epsilon <= 3"\nbecause = "x"\n'
KEY = SigningKey("credit/ana", b"\1" * 32).verifier


def parse(text: str) -> ReleasePolicy:
    return ReleasePolicy.parse(text.encode(), where="release.toml")


def test_a_policy_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "release.toml"
    path.write_text(
        f'[trust]\nowners = ["{KEY.line}"]\n{RULE}[[require]]\nid = "b"\nthat = "has(attack.auc)"\nbecause = "y"\n'
        'severity = "warning"\nfix = "f"\nclause = "c"\n'
    )
    policy = ReleasePolicy.read(path)
    first, second = policy.requirements
    assert (first.id, first.that, first.because, first.severity) == ("a", "privacy.epsilon <= 3", "x", "error")
    assert (second.severity, second.fix, second.clause) == ("warning", "f", "c")
    assert policy.owners == (KEY,)
    assert policy.sha256 == digest(path.read_bytes())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "would pass everything"),
        ("require = []", "would pass everything"),
        (f'[trust]\nowners = ["{KEY.line}"]', "would pass everything"),
        ("require = 3", "[[require]]"),
        ("require = [3]", "[[require]]"),
        ("[require]\nid = 'a'", "[[require]]"),
        ("[[require", "not TOML"),
        (RULE + "[[requires]]\nid = 'x'", 'did you mean "require"'),
        (RULE.replace("because", "becuase"), 'did you mean "because"'),
        (RULE + "severty = 'error'", 'did you mean "severity"'),
        (RULE + "severity = 'eror'", 'did you mean "error"'),
        (RULE + "severity = 3", "not a text"),
        (RULE + "fix = ''", "not a text"),
        (RULE.replace('id = "a"\n', ""), '"id" is missing'),
        (RULE.replace('"a"', '""'), '"id" is missing'),
        (RULE.replace('"a"', '"A b"'), "an id is made of"),
        (RULE.replace('"a"', r'"a\u001b[2J"'), "an id is made of"),
        (RULE.replace('"a"', f'"{"a" * 101}"'), "an id is made of"),
        (RULE.replace('because = "x"\n', ""), '"because" is missing'),
        (RULE.replace('"x"', '" "'), '"because" is missing'),
        (RULE.replace('that = "privacy.epsilon <= 3"\n', ""), '"that" is missing'),
        (RULE.replace("privacy.epsilon <= 3", "privacy.epsilon <="), "line 3, column 27: require[a].that: the express"),
        (RULE.replace("privacy.epsilon", "privacyy.epsilon"), 'did you mean "privacy"'),
        ("\n\n" + RULE + RULE, "line 7: require[a]: the id \"a\" stands twice"),
        (RULE + "x = nan", "nan and inf"),
        (RULE + "[trust]\nowner = []", 'did you mean "owners"'),
        (RULE + "[trust]", "at least one"),
        (RULE + "[trust]\nowners = []", "at least one"),
        (RULE + "[trust]\nowners = 'x'", "at least one"),
        (RULE + "[trust]\nowners = ['x']", "verifier key"),
        ("trust = 3\n" + RULE, "[trust]"),
    ],
)  # fmt: skip
def test_every_malformed_policy_is_refused_and_the_error_says_where(text: str, says: str) -> None:
    with pytest.raises(BadFile) as error:
        parse(text)
    assert says in str(error.value)
    assert "release.toml" in str(error.value)
    assert error.value.exit_code == 2


def test_an_error_names_the_line_of_the_requirement() -> None:
    with pytest.raises(BadFile, match=r"release\.toml, line 10, column 27: require\[b\]\.that"):
        parse(RULE + "\n# more\n\n" + RULE.replace('"a"', '"b"').replace("<= 3", "<="))


def test_a_file_that_cannot_be_read_is_a_bad_file(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such file"):
        ReleasePolicy.read(tmp_path / "none.toml")
    with pytest.raises(BadFile, match="no such file"):
        ReleasePolicy.read(tmp_path)
    with pytest.raises(BadFile, match="UTF-8"):
        ReleasePolicy.parse(b"\xff")


def test_all_rules_that_are_wrong_are_named_at_once() -> None:
    wrong = RULE.replace("privacy.epsilon", "privacyy.epsilon")
    text = RULE + wrong.replace('"a"', '"b"') + RULE + "".join(wrong.replace('"a"', f'"c{i}"') for i in range(10))
    with pytest.raises(BadFile) as error:
        parse(text)
    said = str(error.value).splitlines()
    assert "require[b].that" in said[0]
    assert [line for line in said if "stands twice" in line] == [said[2]]
    assert said[2].startswith("  and: release.toml, line ")
    assert said[-1] == "  and 1 more"
    assert all(f"require[c{i}]" in str(error.value) for i in range(9))
