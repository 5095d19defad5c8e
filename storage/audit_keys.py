"""Owns the keys that sign checkpoints: Ed25519, the private one readable by its owner only, each public one signed by
its predecessor (AUD-1).

`signing.pem` is the key in use; `keys.jsonl` lists every public key that ever was. A new private key is on disk as
`next.pem` before its public key is listed, and takes the old one's place only after that: a crash at any point leaves
a key that signs and whose public half is listed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from actors.vocabulary import DeviceError
from actors.vocabulary.audit_trail import PublicKey, SignedKey
from storage.files import alone, ensure_folder, refused, sync_folder, write_whole

S = TypeVar("S", bound=msgspec.Struct)

KEY_FORMAT: Final = "calejo-audit-key/1"
KEYS_FILE: Final = "keys.jsonl"
_SIGNING: Final = "signing.pem"
_NEXT: Final = "next.pem"
_LOCK: Final = "lock"
_ID_LENGTH: Final = 32


def signed_text(body: msgspec.Struct) -> bytes:
    """Return what is signed of a key or a checkpoint: its format, a line end, its canonical JSON (ASCII)."""
    plain: dict[str, str | int] = msgspec.to_builtins(body)
    told = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{plain['format']}\n{told}".encode("ascii")


def key_id_of(public_key: bytes) -> str:
    """Return what names a key: the first 32 hex digits of the SHA-256 of its raw public half."""
    return hashlib.sha256(public_key).hexdigest()[:_ID_LENGTH]


def is_signed(public_key: str, signature: str, text: bytes) -> bool:
    """Say whether the key (raw, hex) signed the text."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), text)
    except (InvalidSignature, ValueError):
        return False
    return True


def chained(keys: Sequence[SignedKey]) -> tuple[Mapping[str, PublicKey], str]:
    """Return the keys that follow from the first by signatures, by id, and '' or what is wrong with the others."""
    good: dict[str, PublicKey] = {}
    for place, signed in enumerate(keys):
        key = signed.key
        signer = key if place == 0 else good.get(key.previous_key_id)
        try:
            named = key_id_of(bytes.fromhex(key.public_key)) == key.key_id
        except ValueError:
            named = False
        if (
            signer is None
            or not named
            or key.format != KEY_FORMAT
            or (place > 0 and key.number <= signer.number)
            or not is_signed(signer.public_key, signed.signature, signed_text(key))
        ):
            return good, f"key {key.key_id!r} (number {key.number}) is not signed by a key before it"
        good[key.key_id] = key
    return good, ""


class KeyFolder:
    """`<data-dir>/audit`: whoever may read `signing.pem` can sign; everybody may have `keys.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder against other processes of this machine.

        Raises:
            UnavailableError: another one has it; try again.
            DeviceError: the disk refused.

        """
        with alone(self.folder / _LOCK, doing="signs or rotates a key"):
            yield

    def keys(self) -> tuple[SignedKey, ...]:
        """Return every public key, the first one first.

        Raises:
            DeviceError: the disk refused.

        """
        return tuple(read_lines(self.folder / KEYS_FILE, SignedKey))

    def ensure(self, *, at: str) -> tuple[Ed25519PrivateKey, PublicKey, bool]:
        """Return the key in use, made now if there never was one, and whether it was made. Call it `alone`.

        Raises:
            DeviceError: the disk refused, or the private key is gone although public keys are listed.

        """
        self._finish_rotation()
        listed = self.keys()
        private = self._private(_SIGNING)
        if private is not None:
            for signed in listed:
                if signed.key.key_id == key_id_of(_raw(private)):
                    return private, signed.key, False
            raise DeviceError(f"{self.folder / _SIGNING}: its public half is not in {KEYS_FILE}")
        if listed:
            raise DeviceError(
                f"{self.folder / _SIGNING}: the signing key is gone; restore it from a backup, or move the folder away"
                " for a new beginning that auditors will see"
            )
        return *self._install(None, None, number=1, at=at), True

    def rotate(self, *, at: str) -> tuple[PublicKey, PublicKey]:
        """Put a new key in the place of the one in use, signed by it; return old and new. Call it `alone`.

        Raises:
            DeviceError: the disk refused, or there is no key in use.

        """
        private, old, _ = self.ensure(at=at)
        number = max(signed.key.number for signed in self.keys()) + 1
        return old, self._install(private, old, number=number, at=at)[1]

    def _install(
        self, signer: Ed25519PrivateKey | None, old: PublicKey | None, *, number: int, at: str
    ) -> tuple[Ed25519PrivateKey, PublicKey]:
        private = Ed25519PrivateKey.generate()
        key = PublicKey(
            format=KEY_FORMAT,
            number=number,
            key_id=key_id_of(_raw(private)),
            public_key=_raw(private).hex(),
            made_at=at,
            previous_key_id="" if old is None else old.key_id,
        )
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_whole(self.folder / _NEXT, pem)
        signature = (signer or private).sign(signed_text(key)).hex()
        append_line(self.folder / KEYS_FILE, SignedKey(key=key, signature=signature))
        self._finish_rotation()
        return private, key

    def _finish_rotation(self) -> None:
        """Bring a new key whose public half is listed into use; one whose half is not was never a key."""
        waiting = self._private(_NEXT)
        if waiting is None:
            return
        path = self.folder / _NEXT
        try:
            if key_id_of(_raw(waiting)) in {signed.key.key_id for signed in self.keys()}:
                path.replace(self.folder / _SIGNING)
            else:
                path.unlink()
        except OSError as error:
            raise refused(path, error) from error

    def _private(self, name: str) -> Ed25519PrivateKey | None:
        path = self.folder / name
        try:
            pem = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused(path, error) from error
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except ValueError:
            raise DeviceError(f"{path}: no private key in PEM") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise DeviceError(f"{path}: a key of another kind, expected Ed25519")
        return key


def read_lines(path: Path, kind: type[S]) -> list[S]:
    """Return what a file of JSON lines holds; a line that a crash left half written was never given to anybody.

    Raises:
        DeviceError: the disk refused.

    """
    return list(entries(read_raw(path), kind))


def read_raw(path: Path) -> bytes:
    """Return a file's content, nothing if there is none.

    Raises:
        DeviceError: the disk refused.

    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise refused(path, error) from error


def entries(raw: bytes, kind: type[S]) -> Iterator[S]:
    """Yield what JSON lines hold, but for those that are none."""
    for line in raw.splitlines():
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            yield msgspec.json.decode(line, type=kind)


def append_line(path: Path, entry: msgspec.Struct) -> None:
    """Append one JSON line and return when it is durable.

    Raises:
        DeviceError: the disk refused.

    """
    ensure_folder(path.parent)
    try:
        fresh = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            left = memoryview((b"\n" if torn else b"") + msgspec.json.encode(entry) + b"\n")
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if fresh:
            sync_folder(path.parent)
    except OSError as error:
        raise refused(path, error) from error


def _raw(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()
