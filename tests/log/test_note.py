"""Checkpoints: published notes open and are written byte for byte; nothing but our own form opens."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import Misuse, Tampered
from pellucid.keys import SigningKey, VerifyKey
from pellucid.log import Checkpoint, open_checkpoint, sign_checkpoint
from pellucid.log.note import MAX_NOTE, open_note, sign_note

KEY = SigningKey("credit/log", bytes(range(32)))
POINT = Checkpoint("credit", 42, bytes(range(32)))
NOTE = sign_checkpoint(POINT, KEY)


def refused(text, key=KEY.verifier):
    with pytest.raises(Tampered) as caught:
        open_checkpoint(text, key, where="here")
    assert caught.value.where == "here"


def resigned(body):
    """A validly signed note around a body that is not a checkpoint of ours."""
    return sign_note(body, KEY)


def test_the_published_note_is_written_byte_for_byte_and_opens(vectors):
    case = vectors("notes.json")["note"]
    key = SigningKey("PeterNeumann", bytes.fromhex(case["seed"]))
    assert key.verifier.line == case["verifier"]
    assert sign_note(case["body"], key) == case["note"]
    assert open_note(case["note"], VerifyKey.parse(case["verifier"]), where="test") == case["body"]


def test_checkpoints_of_a_log_written_by_go_open_and_are_written_byte_for_byte(vectors):
    log = vectors("notes.json")["log"]
    key = SigningKey(log["origin"], bytes.fromhex(log["seed"]))
    sizes = []
    for note in log["checkpoints"]:
        checkpoint = open_checkpoint(note, VerifyKey.parse(log["verifier"]), where="test")
        assert sign_checkpoint(checkpoint, key) == note
        assert checkpoint.origin == log["origin"]
        sizes.append(checkpoint.size)
    assert sizes == [0, 1, 7, 12, 15]


def test_a_checkpoint_is_three_lines_a_blank_one_and_one_signature():
    lines = NOTE.split("\n")
    assert lines[:4] == ["credit", "42", base64.b64encode(bytes(range(32))).decode(), ""]
    assert lines[4].startswith("— credit/log ")
    assert lines[5:] == [""]
    blob = base64.b64decode(lines[4].rsplit(" ", 1)[1])
    assert len(blob) == 68
    assert blob[:4] == KEY.verifier.hash


@given(st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32), st.from_regex(r"[!-~]{1,20}", fullmatch=True))
def test_what_was_signed_opens(size, root, origin):
    checkpoint = Checkpoint(origin, size, root)
    assert open_checkpoint(sign_checkpoint(checkpoint, KEY), KEY.verifier, where="here") == checkpoint


def test_every_changed_missing_or_added_character_is_refused():
    for at in range(len(NOTE)):
        for other in {chr(ord(NOTE[at]) ^ 1), chr(ord(NOTE[at]) ^ 32), "0", "A", " ", "\n", "=", "—", "\ud800", "\0"}:
            if other != NOTE[at]:
                refused(NOTE[:at] + other + NOTE[at + 1 :])
        refused(NOTE[:at])
        refused(NOTE[:at] + NOTE[at + 1 :])
        for more in ("0", " ", "\n", "\r"):
            refused(NOTE[:at] + more + NOTE[at:])
    for more in ("\n", " ", "x", "\0", NOTE):
        refused(NOTE + more)


ROOT = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    "body",
    [
        f"credit\n042\n{ROOT}\n",
        f"credit\n+42\n{ROOT}\n",
        f"credit\n-1\n{ROOT}\n",
        f"credit\n4_2\n{ROOT}\n",
        f"credit\n٤٢\n{ROOT}\n",
        f"credit\n 42\n{ROOT}\n",
        f"credit\n\n{ROOT}\n",
        f"credit\n{2**53}\n{ROOT}\n",
        f"credit\n{10**40}\n{ROOT}\n",
        f"credit\n42\n{ROOT}\nextension\n",
        f"credit\n42\n{ROOT}\n\n",
        "credit\n42\n",
        f"\n42\n{ROOT}\n",
        f"crédit\n42\n{ROOT}\n",
        f" credit\n42\n{ROOT}\n",
        f"credit\n42\n{ROOT[:-1]}\n",
        f"credit\n42\n{base64.b64encode(bytes(31)).decode()}\n",
        f"credit\n42\n{base64.b64encode(bytes(33)).decode()}\n",
        f"credit\n42\n{ROOT[:-2]}+=\n",
        f"credit\n42\n{bytes(32).hex()}\n",
    ],
)
def test_a_signed_body_in_another_form_is_refused(body):
    refused(resigned(body))


def test_another_key_another_name_and_two_signatures_are_refused():
    other = SigningKey("credit/log", bytes(32))
    renamed = SigningKey("credit/log2", bytes(range(32)))
    refused(NOTE, other.verifier)
    refused(NOTE, renamed.verifier)
    refused(sign_checkpoint(POINT, other))
    refused(sign_checkpoint(POINT, renamed))
    refused(NOTE + NOTE.split("\n")[4] + "\n")
    refused(NOTE + sign_checkpoint(POINT, other).split("\n")[4] + "\n")
    # the hash and name of the right key before the signature of another one
    line = base64.b64encode(KEY.verifier.hash + other.sign(POINT.body.encode())).decode()
    refused(f"{POINT.body}\n— credit/log {line}\n")


def test_a_note_has_a_greatest_length():
    long = resigned(f"credit\n42\n{ROOT}\n" + "x" * (MAX_NOTE - 400) + "\n")
    assert open_note(long, KEY.verifier, where="here").startswith("credit")
    refused(long)
    refused("x" * (MAX_NOTE + 1))
    refused(("—" * (MAX_NOTE // 2)) + NOTE)
    with pytest.raises(Misuse, match="at most"):
        resigned("x" * MAX_NOTE + "\n")


def test_what_is_no_text_is_refused():
    refused(NOTE.encode())
    refused(None)
    refused("")


@pytest.mark.parametrize(
    "fields",
    [
        ("", 1, bytes(32)),
        ("two\nlines", 1, bytes(32)),
        ("credit", -1, bytes(32)),
        ("credit", 2**53, bytes(32)),
        ("credit", 1, bytes(31)),
    ],
)
def test_a_checkpoint_that_could_not_be_read_again_cannot_be_made(fields):
    with pytest.raises(Misuse):
        Checkpoint(*fields)


@pytest.mark.parametrize("body", ["", "\n", "no newline", "tab\there\n", "\ud800\n"])
def test_a_body_that_no_note_can_carry_is_misuse(body):
    with pytest.raises(Misuse):
        sign_note(body, KEY)


@pytest.mark.parametrize("name", ["", "two words", "a+b"])
def test_a_key_whose_name_no_note_can_carry_is_misuse(name):
    with pytest.raises(Misuse):
        sign_note("body\n", SigningKey(name, bytes(32)))
