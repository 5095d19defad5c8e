"""Programs and their keys: found in the database, and for a stop also without it (SEC-1, EST-3, EST-4)."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import Final

from actors.access.buckets import Buckets
from actors.access.store import UserStore
from actors.runtime import Clock
from actors.vocabulary import DeviceError, Instant, UnavailableError
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.sources import source_of_peer
from actors.vocabulary.users import Account, Principal, ServiceKey
from api.access.errors import NotLookedUpError, TooManyError, UnauthenticatedError
from api.access.kept_keys import KeptKey, KeptKeys, counts
from api.access.known import Known
from api.disk import Disk

SERVICE_KEY_PREFIX: Final = "calejo_"
PERSONS_ONLY: Final = frozenset({Operation.PROPOSE_LIMITS, Operation.APPROVE_LIMITS})
"""Nobody knows which person sits at the shell, and a program is none: neither is one of two persons (SAF-6)."""
NO_PERSON: Final = frozenset(Operation) - PERSONS_ONLY
_LOOKUP_DEADLINE_S: Final = 3.0
# A stop waits for nobody: who cannot be looked up in time is judged by what is kept here (EST-3, EST-4).
_STOP_LOOKUP_DEADLINE_S: Final = 0.2
_DISK_DEADLINE_S: Final = 5.0
# Every key that counts is read so often, and each that is changed here at once.
_PERIOD_S: Final = 10.0
# Keys that nobody knows are looked up so often, whoever sends them, and so often for one address.
_UNKNOWN_PER_S: Final = 10
_UNKNOWN_PER_ADDRESS_PER_S: Final = 2.0
_FORM: Final = re.compile(r"[0-9a-f]{16}_[0-9a-f]{64}\Z")


class Programs:
    """Knows the keys. `store` None: this API has no database; then only what is kept is good, for a stop."""

    def __init__(self, store: UserStore | None, *, data_dir: Path, clock: Clock, disk: Disk) -> None:
        self._given = store
        self._clock = clock
        self._disk = disk
        self._known: Known[ServiceKey] = Known(self._ask, clock)
        self._kept = KeptKeys(data_dir)
        self._read_at: Instant | None = None
        self._unknown: tuple[Instant, int] | None = None
        self._unknown_of = Buckets(per_s=_UNKNOWN_PER_ADDRESS_PER_S)

    # ------------------------------------------------------------------ its own upkeep

    async def recall(self, *, deadline_s: float) -> None:
        """Take up what the last run left, once.

        Raises:
            DeviceError: the disk refused, or did not answer.

        """
        if not self._kept.is_told:
            self._kept.take_up(await self._disk.call(self._kept.read, deadline_s=deadline_s))

    async def keep(self) -> None:
        """Read every key that counts from time to time, and leave them for the next run: stops go by them.

        Raises:
            DeviceError: the database is away, or the disk refused; what is known goes on to count.

        """
        now, before = self._clock.now(), self._kept.changes
        read_at = self._read_at
        if self._given is not None and (read_at is None or not 0.0 <= now.seconds_since(read_at) < _PERIOD_S):
            # Once a period, also while the database is away: whoever asks every second only adds to its trouble.
            self._read_at = now
            found = await self._given.live_keys()
            if before == self._kept.changes:
                self._kept.replace(found)
            else:
                self._read_at = None  # something changed while we asked: ask again
        keys = self._kept.unwritten()
        if keys is not None:
            kept = self._kept
            await self._disk.call(lambda: kept.write(keys), deadline_s=_DISK_DEADLINE_S)

    def account_changed(self, account: Account) -> None:
        """An account was written just now: its keys count as it says."""
        self._known.forget(user_id=account.user_id)
        self._kept.account_changed(account)
        self._read_at = None

    def key_changed(self, key: ServiceKey, account: Account | None) -> None:
        """Know a key as it was written just now; `account` None: it was revoked."""
        self._known.forget(key=key.key_id)
        if account is None:
            self._kept.drop(key.key_id)
        else:
            self._kept.learn(key, account)

    def doubted(self, *, user_id: str | None = None) -> None:
        """Nobody knows whether a change of somebody (of anybody) was written: ask first from now on."""
        self._known.doubt(user_id=user_id)
        self._read_at = None

    # ------------------------------------------------------------------ who asks

    async def principal(self, credential: str, operation: Operation, *, peer: str) -> Principal:
        """Return whose key this is.

        Raises:
            UnauthenticatedError: nobody's, or it is worth nothing any more.
            NotLookedUpError: a stop's, not among those kept here, while too many are tried that nobody knows.
            TooManyError: too many keys that nobody knows are tried.
            DeviceError: it cannot be found out now.

        """
        given = credential.removeprefix(SERVICE_KEY_PREFIX)
        stops = operation is Operation.SET_STOP
        key_id, _, secret = given.partition("_")
        if _FORM.match(given) is None:
            raise UnauthenticatedError("the key is not known")
        if self._is_guessing(key_id, peer):
            if not stops:
                raise TooManyError("too many keys that nobody knows are tried: try again", 1.0)
            # A stop is never told to wait, and every key that counts is kept here: this one is not among them.
            if self._kept.is_told:
                raise NotLookedUpError("the key is not known")
        deadline_s = _STOP_LOOKUP_DEADLINE_S if stops else _LOOKUP_DEADLINE_S
        try:
            found = await self._known.get(key_id, deadline_s=deadline_s)
        except DeviceError:
            if not stops:
                raise
            return self._by_what_is_kept(key_id, secret)
        if found is None:
            raise UnauthenticatedError("the key is not known")
        key, account = found
        _same_secret(key.secret_hash, secret)
        who = account.user_id, shown("", key.key_id)
        if not counts(key, account):
            raise UnauthenticatedError("the key is revoked, or its account is disabled", *who)
        is_expired = key.expires_at is not None and self._clock.now().utc >= key.expires_at
        if is_expired and not stops:
            raise UnauthenticatedError("the key has expired", *who)
        return _program(account.user_id, account.role, key, is_expired=is_expired)

    def _by_what_is_kept(self, key_id: str, secret: str) -> Principal:
        """Return whose key it is while nobody can be looked up: good for a stop."""
        kept = self._kept.get(key_id)
        if kept is None:
            raise UnavailableError(
                "users: the database does not answer, and the key is not among those kept here"
            )
        _same_secret(kept.secret_hash, secret)
        is_expired = kept.expires_at is not None and self._clock.now().utc >= kept.expires_at
        return _program(kept.user_id, kept.role, kept, is_expired=is_expired)

    def _is_guessing(self, key_id: str, peer: str) -> bool:
        """Say whether a key is one too many that nobody knows: each costs a query, and nothing was proved yet."""
        if key_id in self._known or key_id in self._kept:
            return False
        now, window = self._clock.now(), self._unknown
        if window is None or not 0.0 <= now.seconds_since(window[0]) < 1.0:
            window = now, 0
        if window[1] >= _UNKNOWN_PER_S or self._unknown_of.take(source_of_peer(peer), now) > 0.0:
            return True
        self._unknown = window[0], window[1] + 1
        return False

    async def _ask(self, key_id: str) -> tuple[ServiceKey, Account] | None:
        before = self._kept.changes
        if self._given is None:
            raise UnavailableError("users: this API has no database")
        found = await self._given.key(key_id)
        if found is not None and before == self._kept.changes:
            self._kept.learn(*found)
        return found


def secret_hash(secret: str) -> str:
    """Return what is kept of a service key's secret: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def shown(session_id: str, key_id: str = "") -> str:
    """Return what somebody showed, as the audit log names it."""
    return f"SERVICE_KEY:{key_id}" if key_id else f"SESSION:{session_id}"


def _same_secret(known: str, secret: str) -> None:
    if not hmac.compare_digest(known, secret_hash(secret)):
        raise UnauthenticatedError("the key is not known")


def _program(user_id: str, role: UserRole, key: ServiceKey | KeptKey, *, is_expired: bool) -> Principal:
    return Principal(
        user_id=user_id,
        role=role,
        key_id=key.key_id,
        operations=(frozenset(key.operations) or NO_PERSON) & NO_PERSON,
        is_expired=is_expired,
    )
