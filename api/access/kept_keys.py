"""The keys of service accounts that count now, kept for the moment when nobody can be looked up (EST-3, EST-4).

A person's token is signed: a stop takes it at its word while the database is away. A key is a secret that only the
database can compare. So every key that counts is kept here as well, by its hash, in memory and in a file of the data
directory for its owner only; nothing but an emergency stop goes by them.
"""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.users import Account, AccountKind, ServiceKey
from storage.files import read_struct, write_whole
from storage.local_credential import FOLDER

FILE: Final = "service-keys.json"


class KeptKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is not revoked, of an account that is enabled; `operations` empty: all of the role."""

    key_id: str
    user_id: str
    role: UserRole
    secret_hash: str
    operations: tuple[Operation, ...] = ()
    expires_at: datetime | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True):
    keys: tuple[KeptKey, ...]


class KeptKeys:
    """What is known of all keys. `read` and `write` are the disk's: call them beside the loop, all else in it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FOLDER / FILE
        self._by_id: dict[str, KeptKey] = {}
        self._written: tuple[KeptKey, ...] | None = None
        self._newest: tuple[KeptKey, ...] | None = None
        self._one_writer = threading.Lock()
        self.is_told = False
        """Whether file or database have said what there is."""
        self.changes = 0
        """How often a key was taken out or put in by itself: a list that was asked for before that is out of date."""

    def __contains__(self, key_id: str) -> bool:
        """Whether this key counts, as far as is known."""
        return key_id in self._by_id

    def get(self, key_id: str) -> KeptKey | None:
        """Return a key, None: it is not known."""
        return self._by_id.get(key_id)

    # ------------------------------------------------------------------ the file

    def read(self) -> tuple[KeptKey, ...]:
        """Return what the last run left; of a file that is missing or damaged nothing.

        Raises:
            DeviceError: the disk refused.

        """
        found = read_struct(self._path, _File)
        return () if found is None else found.keys

    def take_up(self, keys: tuple[KeptKey, ...]) -> None:
        """Know what the file held, unless the database has said better meanwhile."""
        if not self.is_told:
            self.is_told = True
            self._by_id = {each.key_id: each for each in keys}
            self._written = self._all()

    def unwritten(self) -> tuple[KeptKey, ...] | None:
        """Return what has to be written, None: the file holds it."""
        self._newest = keys = self._all()
        return None if not self.is_told or keys == self._written else keys

    def write(self, keys: tuple[KeptKey, ...]) -> None:
        """Leave it for the next run, unless something newer is known: a disk that comes late must not put it back.

        What the file holds is noted here, not by who asked and may have given up.

        Raises:
            DeviceError: the disk refused; the former file is untouched.

        """
        with self._one_writer:
            if keys == self._newest:
                write_whole(self._path, msgspec.json.encode(_File(keys=keys)))
                self._written = keys

    # ------------------------------------------------------------------ the database

    def replace(self, found: tuple[tuple[ServiceKey, Account], ...]) -> None:
        """Know exactly these."""
        self.is_told = True
        self._by_id = {key.key_id: _kept(key, account) for key, account in found if counts(key, account)}

    def learn(self, key: ServiceKey, account: Account) -> None:
        """Know what was found out about one key; one that counts no more is known no more."""
        known = self._by_id.pop(key.key_id, None)
        if counts(key, account):
            self._by_id[key.key_id] = _kept(key, account)
        self.changes += self._by_id.get(key.key_id) != known

    def account_changed(self, account: Account) -> None:
        """Know an account's keys with its role of now, or no more if it is disabled."""
        self.changes += 1
        for each in list(self._by_id.values()):
            if each.user_id != account.user_id:
                continue
            if account.enabled:
                self._by_id[each.key_id] = msgspec.structs.replace(each, role=account.role)
            else:
                del self._by_id[each.key_id]

    def drop(self, key_id: str) -> None:
        """Know a key no more."""
        self.changes += 1
        self._by_id.pop(key_id, None)

    def _all(self) -> tuple[KeptKey, ...]:
        return tuple(self._by_id[key_id] for key_id in sorted(self._by_id))


def counts(key: ServiceKey, account: Account) -> bool:
    """Say whether a key is worth anything, expired or not."""
    return key.revoked_at is None and account.enabled and account.kind is AccountKind.SERVICE


def _kept(key: ServiceKey, account: Account) -> KeptKey:
    return KeptKey(
        key_id=key.key_id,
        user_id=account.user_id,
        role=account.role,
        secret_hash=key.secret_hash,
        operations=key.operations,
        expires_at=key.expires_at,
    )
