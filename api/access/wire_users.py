"""Users at the door of a wire: passwords and keys compared with the same store, hashes and waiting as for REST (SEC-1).

A wire has no form for a second factor or for a new password: whoever needs one of these comes in by a certificate, or
as a service account with its key as the password.

While the users' database is away, whoever came in here within the last hour still can: their account is remembered as
it was then, and the password compared as ever. Nobody else can, and keys cannot: they are looked up each time.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final, TypeVar

from actors.access.backoff import ACCOUNT_FREE, ADDRESS_FREE, BackOff
from actors.access.store import UserStore
from actors.runtime import Clock
from actors.vocabulary import CallerError, DeviceError, Instant, RefusedError, Severity
from actors.vocabulary.callers import Caller, Shown
from actors.vocabulary.sources import source_of_peer
from actors.vocabulary.users import Account, AccountKind, ServiceKey
from api.access.hashing import Hashing
from api.access.kept_keys import counts
from api.access.programs import NO_PERSON, SERVICE_KEY_PREFIX, secret_hash
from api.access.security_log import SecurityLog
from protocols.opcua.doorkeeper import Standing

REMEMBERED_S: Final = 3_600.0
REMEMBERED_MAX: Final = 200
LOOKUP_S: Final = 2.0
# After the database did not answer, nobody waits for it again for so long.
AWAY_S: Final = 2.0
_PASSWORD_MAX: Final = 1_024
_NAME_MAX: Final = 60

_Answer = TypeVar("_Answer")


class WireUsers:
    """The doorkeeper of one endpoint: lives in its process, so that it needs no other actor to be alive."""

    def __init__(
        self, store: UserStore, *, log: SecurityLog, clock: Clock, wire: str, hashing: Hashing | None = None
    ) -> None:
        self._store = store
        self._log = log
        self._clock = clock
        self._wire = wire
        self._hashing = hashing or Hashing()
        self._accounts_backoff = BackOff(free=ACCOUNT_FREE)
        self._addresses_backoff = BackOff(free=ADDRESS_FREE)
        self._remembered: dict[str, tuple[Account, Instant]] = {}
        self._away_since: Instant | None = None

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """How often each event came since the start."""
        return self._log.counts

    async def by_password(self, name: str, password: str, *, peer: str) -> Caller:
        """Return who this is, by password or by a service account's key in its place.

        Raises:
            CallerError: nobody who may come in, or not now.
            DeviceError: the database is away, and this user was not here within the last hour.

        """
        name, address = name.strip().lower()[:_NAME_MAX], source_of_peer(peer)
        self._not_waiting(name, address, peer)
        if password.startswith(SERVICE_KEY_PREFIX):
            caller = await self._by_key(name, password, peer)
        else:
            caller = await self._by_hash(name, password, peer)
        # As for REST: of the address's failures those at this account are forgiven, not those at others.
        now = self._clock.now()
        self._addresses_backoff.forgive(address, self._accounts_backoff.count(name, now), now)
        self._accounts_backoff.succeeded(name)
        self.tell("LOGIN", actor=name, peer=peer)
        return caller

    async def standing(self, caller: Caller) -> Standing:
        """Say whether somebody may stay: enabled, with the same role, and with the password or key that they had."""
        now = self._clock.now()
        try:
            if caller.how is Shown.KEY:
                found = await self._asked(lambda: self._store.key(caller.proof))
                good = found is not None and not _worth_nothing(*found, now=now.utc)
                return Standing.GOOD if found and good and caller.roles == {found[1].role} else Standing.OVER
            account = await self._asked(lambda: self._store.account(caller.name))
        except DeviceError:
            return Standing.UNKNOWN
        if account is None or _barred(account):
            self._remembered.pop(caller.name, None)
            return Standing.OVER
        if caller.roles != {account.role} or caller.proof != _proof(account):
            return Standing.OVER
        self._remember(account, now)
        return Standing.GOOD

    def tell(self, event: str, *, actor: str, peer: str, refused: str = "", subject: str = "") -> None:
        """Count an event and write it down; of a client that comes again and again one a minute, with the count."""
        subject = subject or self._wire
        if refused:
            self._log.refused(
                event, refused, actor=actor, peer=peer, subject=subject, severity=Severity.MEDIUM
            )
            return
        self._log.often(event, actor=actor, peer=peer, subject=subject)

    # ------------------------------------------------------------------ inside

    async def _by_hash(self, name: str, password: str, peer: str) -> Caller:
        account = await self._account(name, peer)
        hashed = "" if account is None or len(password) > _PASSWORD_MAX else account.password_hash
        good, _ = await self._hashing.verified(password[:_PASSWORD_MAX], hashed)
        if account is None or not good:
            raise self._failed(name, peer, "wrong name or password", is_known=account is not None)
        if why := _barred(account):
            raise self._failed(name, peer, why, is_known=True)
        self._remember(account, self._clock.now())
        return Caller(
            name=account.user_id,
            roles=frozenset({account.role}),
            how=Shown.PASSWORD,
            proof=_proof(account),
        )

    async def _by_key(self, name: str, credential: str, peer: str) -> Caller:
        key_id, _, secret = credential.removeprefix(SERVICE_KEY_PREFIX).partition("_")
        found = await self._asked(lambda: self._store.key(key_id))
        known = "" if found is None else found[0].secret_hash
        if not hmac.compare_digest(known, secret_hash(secret)) or found is None:
            raise self._failed(name, peer, "the key is not known")
        key, account = found
        if account.user_id != name:
            raise self._failed(name, peer, "the key is another account's")
        if why := _worth_nothing(key, account, now=self._clock.now().utc):
            raise self._failed(name, peer, why, is_known=True)
        return Caller(
            name=account.user_id,
            roles=frozenset({account.role}),
            how=Shown.KEY,
            proof=key.key_id,
            operations=(frozenset(key.operations) or NO_PERSON) & NO_PERSON,
        )

    async def _account(self, name: str, peer: str) -> Account | None:
        try:
            account = await self._asked(lambda: self._store.account(name))
        except DeviceError:
            known = self._remembered.get(name)
            if known is None or not 0.0 <= self._clock.now().seconds_since(known[1]) < REMEMBERED_S:
                self.tell("LOGIN", actor=name, peer=peer, refused="the users' database is away")
                raise
            return known[0]
        if account is None or _barred(account):
            self._remembered.pop(name, None)
        return account

    async def _asked(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Ask the database, briefly; while it is away nobody waits for it.

        Raises:
            DeviceError: it is away.

        """
        now = self._clock.now()
        if self._away_since is not None and 0.0 <= now.seconds_since(self._away_since) < AWAY_S:
            raise DeviceError("the users' database is away")
        try:
            async with asyncio.timeout(LOOKUP_S):
                found = await ask()
        except TimeoutError as error:
            self._away_since = self._clock.now()
            raise DeviceError("the users' database does not answer") from error
        except DeviceError:
            self._away_since = self._clock.now()
            raise
        self._away_since = None
        return found

    def _remember(self, account: Account, now: Instant) -> None:
        self._remembered.pop(account.user_id, None)
        while len(self._remembered) >= REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[account.user_id] = (account, now)

    def _not_waiting(self, name: str, address: str, peer: str) -> None:
        now = self._clock.now()
        wait_s = max(self._accounts_backoff.wait_s(name, now), self._addresses_backoff.wait_s(address, now))
        if wait_s > 0.0:
            self.tell("LOGIN", actor=name, peer=peer, refused="too many failures")
            raise RefusedError(f"too many failed logins: try again in {wait_s:.0f} s")

    def _failed(self, name: str, peer: str, why: str, *, is_known: bool = False) -> CallerError:
        now = self._clock.now()
        waits_s = self._accounts_backoff.failed(name, now)
        self._addresses_backoff.failed(source_of_peer(peer), now)
        told = {"LOGIN": why, **({"ACCOUNT_LOCKED": f"for {waits_s:.0f} s"} if waits_s > 0.0 else {})}
        for event, text in told.items():
            self._log.refused(
                event,
                text,
                actor=name,
                peer=peer,
                subject=self._wire,
                severity=Severity.MEDIUM,
                is_known=is_known,
            )
        return RefusedError(why)


def _worth_nothing(key: ServiceKey, account: Account, *, now: datetime) -> str:
    """Return why a key with the right secret lets nobody in, '' if it does."""
    if not counts(key, account):
        return "the key is revoked, or its account is disabled"
    return "the key has expired" if key.expires_at is not None and now >= key.expires_at else ""


def _proof(account: Account) -> str:
    return "" if account.password_at is None else account.password_at.isoformat()


def _barred(account: Account) -> str:
    """Return why somebody with the right password is not let in here, '' if they are."""
    if not account.enabled:
        return "the account is disabled"
    if account.kind is not AccountKind.PERSON:
        return "a service account comes with its key"
    if account.must_change:
        return "the password must be changed first (calejo users password)"
    if account.totp:
        return "a second factor cannot be asked for here"
    return ""
