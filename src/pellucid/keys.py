"""Keys: sign and verify (Ed25519), wrap and unwrap (HPKE), and the identities that hold both.

Everything that leaves this file as text is public; private halves exist only inside :class:`Identity`, whose ``repr``
shows its name. A private key at rest is encrypted under a passphrase: Argon2id (RFC 9106) to AES-256-GCM.

Formats:

* A verifier key is one C2SP signed-note line ``NAME+HHHHHHHH+BASE64(0x01 || 32 bytes)``.
* A wrapped secret is HPKE (RFC 9180) base mode with KEM MLKEM768-X25519, HKDF-SHA256 and AES-256-GCM: encapsulated key
  and ciphertext in one string. ``info`` binds it to what it is for.
* An envelope is DSSE v1 (secure-systems-lab/dsse): the signature is over the pre-authentication encoding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from pellucid.errors import BadFile, Misuse, Tampered, UnknownName, WrongPassphrase
from pellucid.evidence import canonical, parse_canonical

__all__ = [
    "BACKENDS",
    "Identity",
    "KdfCost",
    "SigningKey",
    "VerifyKey",
    "WrapKey",
    "WrapPublicKey",
    "b64",
    "create_identity",
    "identity_name",
    "open_envelope",
    "open_identity",
    "read_public",
    "seal_envelope",
    "unb64",
]

_ED25519: Final = b"\x01"
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_MLKEM_PUBLIC: Final = 1184
_MLKEM_SEED: Final = 64
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def b64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def unb64(text: str, *, where: str) -> bytes:
    """Strict base64: only what :func:`b64` would have written is accepted.

    Raises:
        Tampered: Another alphabet, missing padding, blanks, or bits set in the padding.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Tampered("not base64", where=where) from error
    if b64(data) != text:
        raise Tampered("base64 is not in canonical form", where=where)
    return data


def identity_name(name: str) -> str:
    """``name`` itself if it can name an identity, role, data set or model: lower case, digits, ``-`` and ``_``.

    Raises:
        BadFile: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise BadFile(
            f"{name!r} cannot be a name", fix="use 1 to 63 lower-case letters, digits, - and _, starting with a letter"
        )
    return name


# -- signing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """The public half of a signing key, with the name it goes by (``credit/ana``, ``credit/log``)."""

    name: str
    public: bytes

    @property
    def person(self) -> str:
        """Whose it is, without the project: ``ana`` of ``credit/ana``."""
        return self.name.rpartition("/")[2]

    @property
    def hash(self) -> bytes:
        """The 4-byte key id of C2SP signed notes."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def line(self) -> str:
        """The verifier-key line."""
        return f"{self.name}+{self.hash.hex()}+{b64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, line: str, *, where: str = "verifier key") -> VerifyKey:
        """The key in a C2SP verifier-key line (one trailing newline is allowed).

        Raises:
            BadFile: Not such a line, or its hash does not fit.
        """
        try:
            name, key_hash, material = line.removesuffix("\n").split("+", 2)
            raw = unb64(material, where=where)
        except (ValueError, AttributeError, Tampered) as error:
            raise BadFile("not a verifier key line (NAME+HASH+KEY)", where=where) from error
        if not name or any(c.isspace() for c in name) or raw[:1] != _ED25519 or len(raw) != 33:
            raise BadFile("not an Ed25519 verifier key line", where=where)
        key = cls(name, raw[1:])
        if key.hash.hex() != key_hash:
            raise BadFile("the key's hash does not fit its name and bytes", where=where)
        return key

    def verify(self, signature: bytes, message: bytes, *, where: str) -> None:
        """Return if ``signature`` over ``message`` is by this key.

        Raises:
            Tampered: It is not.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise Tampered(f"the signature of {self.name} does not fit", where=where) from error


class SigningKey:
    """An Ed25519 private key with its name. ``repr`` shows the name only."""

    __slots__ = ("_private", "name")

    def __init__(self, name: str, seed: bytes) -> None:
        self.name = name
        self._private = Ed25519PrivateKey.from_private_bytes(seed)

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r})"

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """A new key from the operating system's generator."""
        return cls(name, os.urandom(32))

    @property
    def verifier(self) -> VerifyKey:
        """The public half."""
        return VerifyKey(self.name, self._private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature over ``message``."""
        return self._private.sign(message)

    def secret(self) -> bytes:
        """The 32-byte seed, for wrapping only."""
        return self._private.private_bytes_raw()


# -- wrapping ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WrapPublicKey:
    """The public half of an HPKE key: ML-KEM-768 (1184 bytes) then X25519 (32 bytes)."""

    raw: bytes

    @classmethod
    def parse(cls, text: str, *, where: str) -> WrapPublicKey:
        """The key in base64 ``text``."""
        raw = unb64(text, where=where)
        if len(raw) != _MLKEM_PUBLIC + 32:
            raise Tampered("not a wrapping key", where=where)
        return cls(raw)

    @property
    def text(self) -> str:
        """The key in base64."""
        return b64(self.raw)

    def wrap(self, secret: bytes, *, info: str) -> bytes:
        """``secret`` so that only the private half can read it, bound to ``info``."""
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(self.raw[:_MLKEM_PUBLIC]),
            X25519PublicKey.from_public_bytes(self.raw[_MLKEM_PUBLIC:]),
        )
        return _SUITE.encrypt(secret, key, info=info.encode())


class WrapKey:
    """An HPKE private key: the ML-KEM-768 seed (64 bytes) then X25519 (32 bytes). ``repr`` shows nothing of it."""

    __slots__ = ("_mlkem", "_x25519")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _MLKEM_SEED + 32:
            raise Misuse("not a wrapping key")
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(secret[:_MLKEM_SEED])
        self._x25519 = X25519PrivateKey.from_private_bytes(secret[_MLKEM_SEED:])

    def __repr__(self) -> str:
        return "WrapKey(…)"

    @classmethod
    def generate(cls) -> WrapKey:
        """A new key from the operating system's generator."""
        return cls(os.urandom(_MLKEM_SEED + 32))

    @property
    def public(self) -> WrapPublicKey:
        """The public half."""
        return WrapPublicKey(self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw())

    def unwrap(self, wrapped: bytes, *, info: str, where: str) -> bytes:
        """The secret in ``wrapped``.

        Raises:
            Tampered: It was wrapped for another key or another ``info``, or was changed.
        """
        try:
            return _SUITE.decrypt(wrapped, MLKEM768X25519PrivateKey(self._mlkem, self._x25519), info=info.encode())
        except (InvalidTag, ValueError) as error:
            raise Tampered("this wrapped key does not open", where=where) from error

    def secret(self) -> bytes:
        """The 96 private bytes, for wrapping only."""
        return self._mlkem.private_bytes_raw() + self._x25519.private_bytes_raw()


# -- envelopes --------------------------------------------------------------------------------------------------------


def _pae(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal_envelope(payload_type: str, payload: bytes, signer: SigningKey) -> dict[str, Any]:
    """A DSSE envelope around ``payload``; ``keyid`` is the signer's verifier-key line."""
    return {
        "payload": b64(payload),
        "payloadType": payload_type,
        "signatures": [{"keyid": signer.verifier.line, "sig": b64(signer.sign(_pae(payload_type, payload)))}],
    }


def open_envelope(envelope: Any, payload_type: str, *, where: str) -> tuple[bytes, VerifyKey]:
    """The payload of an envelope with one valid signature, and the key that made it.

    The key is the one the envelope names: whether that key is trusted is the caller's question.

    Raises:
        Tampered: Not exactly such an envelope, or the signature does not fit.
    """
    try:
        if set(envelope) != {"payload", "payloadType", "signatures"} or envelope["payloadType"] != payload_type:
            raise Tampered(f"not an envelope of {payload_type}", where=where)
        (signature,) = envelope["signatures"]
        if set(signature) != {"keyid", "sig"}:
            raise Tampered("not a DSSE signature", where=where)
        payload = unb64(envelope["payload"], where=where)
        key = VerifyKey.parse(signature["keyid"], where=where)
        if key.line != signature["keyid"]:
            raise Tampered("the key id is not in canonical form", where=where)
        key.verify(unb64(signature["sig"], where=where), _pae(payload_type, payload), where=where)
    except (KeyError, TypeError, ValueError, BadFile) as error:
        raise Tampered("not a DSSE envelope with one signature", where=where) from error
    return payload, key


# -- identities -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KdfCost:
    """Cost of Argon2id. The default is the second recommendation of RFC 9106 section 4: 64 MiB, 3 passes, 4 lanes."""

    memory_kib: int = 65536
    passes: int = 3
    lanes: int = 4


@dataclass(frozen=True, slots=True)
class Identity:
    """An unlocked identity: a name, an Ed25519 key and an HPKE key. ``repr`` shows the name only."""

    name: str
    signing: SigningKey = field(repr=False)
    wrapping: WrapKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """The public half of an identity, as its file and the log show it."""

    name: str
    verifier: VerifyKey
    wrapping: WrapPublicKey


class Backend(Protocol):
    """Where an identity's file lives. One visible table, :data:`BACKENDS`, picks it by the scheme of a key URI."""

    def read(self, location: str) -> bytes:
        """The identity's file. Raises ``UnknownName`` if there is none."""
        ...

    def write(self, location: str, data: bytes) -> None:
        """Store a new identity's file, never over another one."""
        ...


class FileBackend:
    """``file:PATH``: a file that only its owner may read (mode 0600)."""

    def read(self, location: str) -> bytes:
        """The file's bytes."""
        path = Path(location)
        if not path.is_file():
            raise UnknownName(
                f"there is no identity {path.stem!r}", where=str(path), fix="see `pellucid identity show`"
            )
        return path.read_bytes()

    def write(self, location: str, data: bytes) -> None:
        """Create the file, complete or not at all."""
        path = Path(location)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise BadFile(
                f"identity {path.stem!r} exists already", where=str(path), fix="choose another name"
            ) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


BACKENDS: Final[Mapping[str, Callable[[], Backend]]] = {"file": FileBackend}
_FORMAT: Final = "pellucid/identity@1"
_FIELDS: Final = {"format", "name", "verifier", "wrapping", "kdf", "nonce", "sealed"}


def _backend(uri: str) -> tuple[Backend, str]:
    parts = urlsplit(uri)
    if parts.scheme not in BACKENDS:
        raise UnknownName(f'no key backend "{parts.scheme}"', fix=f"use one of {', '.join(BACKENDS)}")
    return BACKENDS[parts.scheme](), unquote(parts.path)


def _derive(passphrase: str, salt: bytes, cost: KdfCost) -> bytes:
    return Argon2id(salt=salt, length=32, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory_kib).derive(
        passphrase.encode()
    )


def create_identity(uri: str, name: str, passphrase: str, *, project: str, cost: KdfCost | None = None) -> Identity:
    """Make a new identity and store it, its private half encrypted under ``passphrase``.

    Args:
        uri: Key URI, such as ``file:/home/ana/credit/identities/ana.json``.
        name: The identity's name.
        passphrase: At least one character; asked for, never passed on a command line.
        project: The project's name, first half of the verifier key's name.
        cost: Cost of the key derivation; the default is meant for people, a lower one for tests.

    Raises:
        BadFile: The name cannot be a name, or the identity exists already.
        WrongPassphrase: The passphrase is empty.
    """
    identity_name(name)
    if not passphrase:
        raise WrongPassphrase("an identity needs a passphrase", where=name, fix="set PELLUCID_PASSPHRASE or type one")
    cost = cost or KdfCost()
    backend, location = _backend(uri)
    identity = Identity(name, SigningKey.generate(f"{project}/{name}"), WrapKey.generate())
    salt, nonce = os.urandom(16), os.urandom(12)
    head = {
        "format": _FORMAT,
        "name": name,
        "verifier": identity.signing.verifier.line,
        "wrapping": identity.wrapping.public.text,
        "kdf": {
            "name": "argon2id",
            "salt": b64(salt),
            "memory_kib": cost.memory_kib,
            "passes": cost.passes,
            "lanes": cost.lanes,
        },
        "nonce": b64(nonce),
    }
    secret = identity.signing.secret() + identity.wrapping.secret()
    sealed = AESGCM(_derive(passphrase, salt, cost)).encrypt(nonce, secret, canonical(head))
    backend.write(location, canonical({**head, "sealed": b64(sealed)}))
    return identity


def _load(uri: str, name: str) -> dict[str, Any]:
    backend, location = _backend(uri)
    record = parse_canonical(backend.read(location), where=location)
    if not isinstance(record, dict) or set(record) != _FIELDS or record["format"] != _FORMAT:
        raise Tampered("not an identity file", where=location)
    if record["name"] != name:
        raise BadFile(
            f"this file belongs to identity {record['name']!r}, not {name!r}",
            where=location,
            fix=f"act as {record['name']!r}, or restore the file of {name!r}",
        )
    return record


def read_public(uri: str, name: str) -> PublicIdentity:
    """The public half of an identity, without its passphrase. It proves nothing until an owner's grant names it."""
    record = _load(uri, name)
    return PublicIdentity(
        name,
        VerifyKey.parse(record["verifier"], where=name),
        WrapPublicKey.parse(record["wrapping"], where=name),
    )


def open_identity(uri: str, name: str, passphrase: str) -> Identity:
    """Unlock an identity.

    Raises:
        UnknownName: There is no such identity.
        WrongPassphrase: The passphrase does not open it (or the file was changed: the two cannot be told apart).
        Tampered: The file is not an identity file.
        BadFile: The file belongs to another identity.
    """
    record = _load(uri, name)
    try:
        kdf = record["kdf"]
        cost = KdfCost(int(kdf["memory_kib"]), int(kdf["passes"]), int(kdf["lanes"]))
        if not (8 <= cost.memory_kib <= 1 << 22 and 1 <= cost.passes <= 100 and 1 <= cost.lanes <= 64):
            raise Tampered("the cost of the key derivation is out of range", where=name)
        head = {key: value for key, value in record.items() if key != "sealed"}
        key = _derive(passphrase, unb64(kdf["salt"], where=name), cost)
        secret = AESGCM(key).decrypt(
            unb64(record["nonce"], where=name), unb64(record["sealed"], where=name), canonical(head)
        )
    except InvalidTag as error:
        raise WrongPassphrase(
            "the passphrase does not open this identity (or its file was changed)",
            where=name,
            fix="try again, or restore the file from a backup",
        ) from error
    except (KeyError, TypeError, ValueError, json.JSONDecodeError) as error:
        raise Tampered("not an identity file", where=name) from error
    identity = Identity(name, SigningKey(VerifyKey.parse(record["verifier"]).name, secret[:32]), WrapKey(secret[32:]))
    if identity.signing.verifier.line != record["verifier"] or identity.wrapping.public.text != record["wrapping"]:
        raise Tampered("the public half does not fit the private one", where=name)
    return identity
