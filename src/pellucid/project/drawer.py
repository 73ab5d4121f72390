"""What a run must remember and nobody may read: a file under a key that is thrown away when the run is settled.

The key is random, wrapped to the identity that reserved the run, and lies in a file of its own; the state is encrypted
with it (AES-256-GCM) and signed by that identity. Overwriting the key's file makes every state that was ever written
unreadable, wherever copies of it lie. States are padded, so that their size tells little.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pellucid.errors import Tampered
from pellucid.evidence import canonical, parse_canonical
from pellucid.keys import Identity, b64, unb64

__all__ = ["KEY", "STATE", "Drawer", "destroy"]

KEY: Final = "drawer.key"
STATE: Final = "drawer.sealed"
_INFO: Final = "pellucid/drawer-key@1"
_LEAST: Final = 1 << 16


class Drawer:
    """The state of one reservation.

    Args:
        folder: Of the run.
        reservation: Its name: a state of one run does not open as that of another.
        identity: Who reserved it.
    """

    def __init__(self, folder: Path, reservation: str, identity: Identity) -> None:
        self._folder = folder
        self._name = reservation
        self._identity = identity

    def __repr__(self) -> str:
        return f"Drawer({self._name!r})"

    @property
    def there(self) -> bool:
        """Whether a state was put in."""
        return (self._folder / STATE).exists()

    def put(self, state: dict[str, Any]) -> None:
        """Keep ``state`` (JSON) in the place of the one before; durable when this returns, and whole or not at all."""
        from pellucid.train.weights import write_whole

        self._folder.mkdir(parents=True, exist_ok=True)
        plain = json.dumps(state).encode()
        plain += b" " * (max(_LEAST, 1 << (len(plain) - 1).bit_length()) - len(plain))
        nonce = os.urandom(12)
        body = {
            "format": "pellucid/drawer@1",
            "reservation": self._name,
            "nonce": b64(nonce),
            "sealed": b64(AESGCM(self._key()).encrypt(nonce, plain, self._name.encode())),
        }
        signature = b64(self._identity.signing.sign(canonical(body)))
        write_whole(self._folder / STATE, canonical({**body, "signature": signature}))

    def get(self) -> dict[str, Any]:
        """The state that was put in last.

        Raises:
            Tampered: It is not what the identity signed for this run, or the key does not open it.
        """
        path = self._folder / STATE
        try:
            document = parse_canonical(path.read_bytes(), where=str(path))
            signature = unb64(document.pop("signature"), where=str(path))
            self._identity.signing.verifier.verify(signature, canonical(document), where=str(path))
            if document["reservation"] != self._name:
                raise Tampered("the state is of another run", where=str(path))
            sealed, nonce = (unb64(document[name], where=str(path)) for name in ("sealed", "nonce"))
            state: dict[str, Any] = json.loads(AESGCM(self._key()).decrypt(nonce, sealed, self._name.encode()))
        except (OSError, KeyError, TypeError, ValueError, AttributeError, InvalidTag) as error:
            raise Tampered("the state of the run cannot be opened", where=str(path)) from error
        return state

    def _key(self) -> bytes:
        path = self._folder / KEY
        info = f"{_INFO}|{self._name}"
        if path.exists():
            return self._identity.wrapping.unwrap(path.read_bytes(), info=info, where=str(path))
        key = os.urandom(32)
        from pellucid.train.weights import write_whole

        write_whole(path, self._identity.wrapping.public.wrap(key, info=info))
        return key


def destroy(folder: Path) -> None:
    """Overwrite the key in ``folder``, if there is one, and remove it and the state: none opens any more."""
    path = folder / KEY
    if not path.exists():
        return
    with path.open("r+b") as file:
        file.write(os.urandom(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    (folder / STATE).unlink(missing_ok=True)
