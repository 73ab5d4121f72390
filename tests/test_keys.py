"""Keys: signatures, wrapping, envelopes and identities, each guarantee by name."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadFile, PellucidError, Tampered, UnknownName, WrongPassphrase
from pellucid.evidence import canonical
from pellucid.keys import (
    KdfCost,
    SigningKey,
    VerifyKey,
    WrapKey,
    WrapPublicKey,
    create_identity,
    identity_name,
    open_envelope,
    open_identity,
    read_public,
    seal_envelope,
    unb64,
)

CHEAP = KdfCost(8, 1, 1)

# The key of the example in the documentation of Go's golang.org/x/mod/sumdb/note, published there as
# "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_a_verifier_key_of_another_implementation_parses_and_prints_back() -> None:
    assert VerifyKey.parse(PETER).line == PETER
    assert VerifyKey.parse(PETER + "\n").name == "PeterNeumann"


@pytest.mark.parametrize("at", range(0, len(PETER), 3))
def test_a_changed_verifier_key_line_is_refused(at: int) -> None:
    changed = PETER[:at] + ("A" if PETER[at] != "A" else "B") + PETER[at + 1 :]
    with pytest.raises(BadFile):
        VerifyKey.parse(changed)


# RFC 8032, section 7.1, test 3: secret key, public key, message, signature.
RFC8032 = (
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    "af82",
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
)


def test_signatures_are_those_of_rfc_8032() -> None:
    seed, public, message, signature = (bytes.fromhex(text) for text in RFC8032)
    key = SigningKey("a", seed)
    assert key.verifier.public == public
    assert key.sign(message) == signature
    key.verifier.verify(signature, message, where="test")


def test_a_signature_holds_for_its_key_and_message_only() -> None:
    key, other = SigningKey.generate("a"), SigningKey.generate("a")
    signature = key.sign(b"message")
    for verifier, text in ((other.verifier, b"message"), (key.verifier, b"Message")):
        with pytest.raises(Tampered):
            verifier.verify(signature, text, where="test")


@given(st.binary(min_size=0, max_size=200), st.text(max_size=30))
def test_what_was_wrapped_opens_again(secret: bytes, info: str) -> None:
    key = WrapKey.generate()
    assert key.unwrap(key.public.wrap(secret, info=info), info=info, where="test") == secret


def test_a_wrapped_secret_opens_for_its_key_and_purpose_only() -> None:
    key = WrapKey.generate()
    wrapped = key.public.wrap(b"secret", info="this")
    for opener, info, data in (
        (WrapKey.generate(), "this", wrapped),
        (key, "that", wrapped),
        (key, "this", wrapped[:-1] + bytes([wrapped[-1] ^ 1])),
        (key, "this", bytes([wrapped[0] ^ 1]) + wrapped[1:]),
        (key, "this", wrapped[:40]),
    ):
        with pytest.raises(Tampered):
            opener.unwrap(data, info=info, where="test")


def test_a_wrapping_key_survives_its_own_bytes() -> None:
    key = WrapKey.generate()
    again = WrapKey(key.secret())
    assert again.public == key.public
    assert WrapPublicKey.parse(key.public.text, where="test") == key.public


def test_the_envelope_signs_the_pre_authentication_encoding_of_dsse() -> None:
    # The example of the DSSE protocol document: type and body as there, so the signed bytes are known.
    key = SigningKey.generate("a")
    envelope = seal_envelope("http://example.com/HelloWorld", b"hello world", key)
    signed = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    key.verifier.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, where="test")
    assert open_envelope(envelope, "http://example.com/HelloWorld", where="test") == (b"hello world", key.verifier)


def test_the_length_in_the_encoding_counts_bytes_not_characters() -> None:
    key = SigningKey.generate("a")
    envelope = seal_envelope("text/ü", "größe".encode(), key)
    signed = b"DSSEv1 7 " + "text/ü".encode() + b" 7 " + "größe".encode()
    key.verifier.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, where="test")


def _envelope() -> dict[str, Any]:
    return seal_envelope("t", b'{"a":1}', SigningKey.generate("a"))


@pytest.mark.parametrize("at", range(0, 420, 7))
def test_a_changed_character_of_an_envelope_is_noticed(at: int) -> None:
    envelope = _envelope()
    text = canonical(envelope).decode()
    at %= len(text)
    changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    try:
        value = json.loads(changed)
    except ValueError:
        return
    with pytest.raises(Tampered):
        open_envelope(value, "t", where="test")


@pytest.mark.parametrize(
    "envelope",
    [
        None,
        [],
        "x",
        {},
        {"payload": "e30=", "payloadType": "t", "signatures": []},
        {"payload": "e30=", "payloadType": "t", "signatures": [{}]},
        {"payload": 1, "payloadType": "t", "signatures": [{"keyid": PETER, "sig": ""}]},
        {"payload": "e30=", "payloadType": "t", "signatures": [{"keyid": 1, "sig": ""}]},
        {"payload": "e30=", "payloadType": "t", "signatures": "ab"},
    ],
)
def test_what_is_no_envelope_is_tampered_and_nothing_else(envelope: Any) -> None:
    with pytest.raises(Tampered):
        open_envelope(envelope, "t", where="test")


@given(st.binary(max_size=40))
def test_only_canonical_base64_is_accepted(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert unb64(text, where="test") == data
    for other in (text + "=", text + "\n", " " + text, text.rstrip("=") if text.endswith("=") else text + "A"):
        with pytest.raises(Tampered):
            unb64(other, where="test")


def test_bits_in_the_padding_are_noticed() -> None:
    assert unb64("AA==", where="test") == b"\0"
    with pytest.raises(Tampered):
        unb64("AB==", where="test")


@pytest.mark.parametrize("name", ["", "Ana", "a b", "../a", "a/b", "a\n", "-a", "1a", "a" * 64, "ü"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(BadFile):
        identity_name(name)


def _uri(folder: Path, name: str = "ana") -> str:
    return f"file:{folder}/{name}.json"


def test_an_identity_opens_with_its_passphrase_and_no_other(tmp_path: Path) -> None:
    made = create_identity(_uri(tmp_path), "ana", "right", project="credit", cost=CHEAP)
    opened = open_identity(_uri(tmp_path), "ana", "right")
    assert opened.signing.verifier == made.signing.verifier == read_public(_uri(tmp_path), "ana").verifier
    assert opened.wrapping.public == made.wrapping.public
    with pytest.raises(WrongPassphrase):
        open_identity(_uri(tmp_path), "ana", "wrong")
    with pytest.raises(WrongPassphrase):
        create_identity(_uri(tmp_path, "bo"), "bo", "", project="credit", cost=CHEAP)
    assert not (tmp_path / "bo.json").exists()


def test_an_identity_file_is_its_owners_alone_and_never_written_over(tmp_path: Path) -> None:
    create_identity(_uri(tmp_path), "ana", "x", project="credit", cost=CHEAP)
    before = (tmp_path / "ana.json").read_bytes()
    assert stat.S_IMODE((tmp_path / "ana.json").stat().st_mode) == 0o600
    with pytest.raises(BadFile):
        create_identity(_uri(tmp_path), "ana", "y", project="credit", cost=CHEAP)
    assert (tmp_path / "ana.json").read_bytes() == before


def test_the_file_of_another_identity_is_refused_and_says_whose_it_is(tmp_path: Path) -> None:
    create_identity(_uri(tmp_path, "bo"), "bo", "x", project="credit", cost=CHEAP)
    (tmp_path / "bo.json").rename(tmp_path / "ana.json")
    with pytest.raises(BadFile, match="bo"):
        open_identity(_uri(tmp_path), "ana", "x")


def test_every_changed_byte_of_an_identity_file_is_noticed(tmp_path: Path) -> None:
    create_identity(_uri(tmp_path), "ana", "x", project="credit", cost=CHEAP)
    path = tmp_path / "ana.json"
    content = path.read_bytes()
    for at in range(0, len(content), 11):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(PellucidError):
            open_identity(_uri(tmp_path), "ana", "x")


def test_a_missing_identity_and_an_unknown_backend_are_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UnknownName):
        open_identity(_uri(tmp_path, "nobody"), "nobody", "x")
    with pytest.raises(UnknownName):
        open_identity("vault:secret/ana", "ana", "x")


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    identity = create_identity(_uri(tmp_path), "ana", "a passphrase", project="credit", cost=CHEAP)
    shown = repr(identity) + repr(identity.signing) + repr(identity.wrapping) + str(identity)
    for secret in (identity.signing.secret(), identity.wrapping.secret()):
        assert secret.hex() not in shown
        assert base64.b64encode(secret).decode() not in shown
        assert repr(secret)[2:20] not in shown
    assert "a passphrase" not in (tmp_path / "ana.json").read_text()
