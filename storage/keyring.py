"""What signs tokens and seals second factors: a file of the data directory for its owner only, or the settings.

The first key signs, every key verifies. A key that no longer signs goes on to verify until nothing that it signed can
be valid any more (SEC-1, SEC-3).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from actors.vocabulary import DeviceError, InvalidValueError
from storage.files import read_struct, write_whole
from storage.local_credential import FOLDER

KEYS_FILE: Final = "keys.json"
SECRET_MIN: Final = 32
KEYS_MAX: Final = 10
_SECRET_BYTES: Final = 32


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """One secret. `retired_at`: since then another one signs. `verifies` False: it only opens what it sealed."""

    key_id: str
    secret: str
    created_at: datetime
    retired_at: datetime | None = None
    verifies: bool = True


class _File(msgspec.Struct, frozen=True, kw_only=True):
    keys: tuple[SigningKey, ...]


class KeyRing:
    """Secrets by their id. Never shown: `repr` names no secret."""

    def __init__(self, keys: Mapping[str, str], *, opening: Iterable[str] = ()) -> None:
        """Take at least one secret; the first one signs. `opening`: further ones, which only open what they sealed."""
        assert keys, "somebody must sign"
        self._keys = dict(keys)
        self._seals = MultiFernet([Fernet(_sealing_key(secret)) for secret in (*keys.values(), *opening)])

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    @property
    def signing(self) -> tuple[str, str]:
        """The id and the secret that sign now."""
        return next(iter(self._keys.items()))

    def secret(self, key_id: str) -> str | None:
        """Return the secret of an id, None: it is not known (any more)."""
        return self._keys.get(key_id)

    def seal(self, text: str) -> str:
        """Return `text` so that only this ring reads it."""
        return self._seals.encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        """Return what was sealed.

        Raises:
            DeviceError: no key of this ring sealed it.

        """
        try:
            return self._seals.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise DeviceError(
                "what was sealed cannot be read: its key is no longer in the key ring"
            ) from error


class KeyFile:
    """The ring of a data directory, or of the settings, which then count alone."""

    def __init__(self, data_dir: Path, *, configured: str = "") -> None:
        self._path = data_dir / FOLDER / KEYS_FILE
        self._configured = configured
        self._seen: object = None
        self._ring: KeyRing | None = None

    def ring(self) -> KeyRing:
        """Return the ring as it stands now; a file that has changed is read again.

        Raises:
            DeviceError: the file is missing, damaged, readable by others, or the disk refuses.

        """
        if self._configured:
            if self._ring is None:
                self._ring = KeyRing(configured_keys(self._configured))
            return self._ring
        try:
            stat = self._path.stat()
        except OSError as error:
            raise DeviceError(f"{self._path}: {error.strerror} (`calejo run` makes it)") from error
        seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if self._ring is None or seen != self._seen:
            if stat.st_mode & 0o077:
                raise DeviceError(
                    f"{self._path}: may be read by others (mode {stat.st_mode & 0o777:04o}), expected 0600"
                )
            keys = self._read()
            verifying = {each.key_id: each.secret for each in keys if each.verifies}
            opening = [each.secret for each in keys if not each.verifies]
            self._ring, self._seen = KeyRing(verifying, opening=opening), seen
        return self._ring

    def ensure(self, *, now: datetime) -> None:
        """Make the file with one key if there is none and none is configured.

        Raises:
            DeviceError: the disk refused.

        """
        if not self._configured and not self._path.exists():
            self._write((_new(now),), replace=False)

    def rotate(self, *, now: datetime, verify_for_s: float) -> str:
        """Let a new key sign from now on; return its id.

        The one that signed goes on to verify; those that retired more than `verify_for_s` ago (0: all) do not.

        Raises:
            InvalidValueError: the keys are configured, and rotated there.
            DeviceError: the file cannot be read or written.

        """
        if self._configured:
            raise InvalidValueError(
                "access.signing_keys is configured: put the new key before the others there"
            )
        new, oldest = _new(now), now - timedelta(seconds=verify_for_s)
        kept = []
        for each in self._read():
            retired_at = each.retired_at or now
            verifies = each.verifies and retired_at > oldest
            kept.append(msgspec.structs.replace(each, retired_at=retired_at, verifies=verifies))
        self._write((new, *kept)[:KEYS_MAX], replace=True)
        return new.key_id

    def _read(self) -> tuple[SigningKey, ...]:
        found = read_struct(self._path, _File)
        if found is None or not found.keys:
            raise DeviceError(
                f"{self._path}: missing or damaged (without it a new one is made, and all log in again)"
            )
        return found.keys

    def _write(self, keys: tuple[SigningKey, ...], *, replace: bool) -> None:
        write_whole(self._path, msgspec.json.encode(_File(keys=keys)), replace=replace)


def configured_keys(text: str) -> dict[str, str]:
    """Read `access.signing_keys`: secrets with commas between, the first one signs; ids are made from them.

    Raises:
        InvalidValueError: one is too short. The text holds none.

    """
    found = [each.strip() for each in text.split(",") if each.strip()]
    if not found or len(found) > KEYS_MAX or any(len(each) < SECRET_MIN for each in found):
        raise InvalidValueError(f"expected 1 to {KEYS_MAX} secrets of at least {SECRET_MIN} characters each")
    return {f"c-{hashlib.sha256(each.encode()).hexdigest()[:12]}": each for each in found}


def _new(now: datetime) -> SigningKey:
    return SigningKey(key_id=secrets.token_hex(6), secret=secrets.token_hex(_SECRET_BYTES), created_at=now)


def _sealing_key(secret: str) -> bytes:
    """Derive what seals from what signs: one secret to keep, two uses that cannot be mistaken for each other."""
    derived = HKDF(hashes.SHA256(), length=32, salt=None, info=b"calejo second factor").derive(
        secret.encode()
    )
    return base64.urlsafe_b64encode(derived)
