"""The desk where everybody shows what they have: a token, a key, or the run's own credential (SEC-1)."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar, assert_never
from urllib.parse import unquote

import msgspec

from actors.access.sessions import SessionState, seen, state_of
from actors.access.store import UserStore
from actors.runtime import Clock
from actors.vocabulary import DeviceError, Severity, UnavailableError
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.settings import AccessSettings, ApiSettings, is_loopback
from actors.vocabulary.users import LOCAL_PREFIX, Account, Principal, Session
from api.access import tokens
from api.access.cookies import Cookies, Shown
from api.access.errors import ForbiddenError, NotLookedUpError, TooManyError, UnauthenticatedError
from api.access.hashing import Hashing
from api.access.known import Known
from api.access.programs import NO_PERSON, PERSONS_ONLY, SERVICE_KEY_PREFIX, Programs, shown
from api.access.security_log import SecurityLog
from api.access.tokens import Claims, Use
from api.disk import Disk
from storage.keyring import KeyFile, KeyRing
from storage.local_credential import LocalCredential

LOCAL_SCHEME: Final = "calejo-local"
CHALLENGE: Final = "Bearer"
SEEN_S: Final = 60.0
"""How often a browser's session is written down as seen."""
_LOOKUP_DEADLINE_S: Final = 3.0
# A stop waits for nobody: who cannot be looked up in time is taken at the token's word (EST-3, EST-4).
_STOP_LOOKUP_DEADLINE_S: Final = 0.2
_DISK_DEADLINE_S: Final = 5.0
_CREDENTIAL_MAX: Final = 4_096
_NAME_MAX: Final = 60

_Answer = TypeVar("_Answer")

# What a password that somebody else set is good for, until its owner has changed it.
_BEFORE_CHANGE: Final = frozenset({Operation.OWN_ACCOUNT, Operation.SET_STOP})


class AccessDesk:
    """Knows who asks. `store` None: this API has no database; then only the local credential is good for anything."""

    def __init__(
        self,
        store: UserStore | None,
        *,
        data_dir: Path,
        settings: AccessSettings,
        log: SecurityLog,
        clock: Clock,
        hashing: Hashing | None = None,
        cookies: Cookies | None = None,
    ) -> None:
        self._given = store
        self.settings = settings
        self.log = log
        self.clock = clock
        self.hashing = hashing or Hashing()
        self.cookies = cookies or Cookies.of(ApiSettings())
        self._keys = KeyFile(data_dir, configured=settings.signing_keys)
        self._local = LocalCredential(data_dir)
        self._local_secret = ""
        self._disk = Disk("access", calls_max=4)
        self._ring: KeyRing | None = None
        self._sessions: Known[Session] = Known(self._ask_session, clock)
        self.programs = Programs(store, data_dir=data_dir, clock=clock, disk=self._disk)

    # ------------------------------------------------------------------ its own upkeep

    async def look(self, *, deadline_s: float = _DISK_DEADLINE_S) -> None:
        """Read keys and local credential, which may be replaced while we run; make a key if there is none.

        Raises:
            DeviceError: the disk refused, or did not answer; what was read before goes on to count.

        """
        now = self.clock.now().utc

        def read() -> tuple[str, KeyRing]:
            self._keys.ensure(now=now)
            return self._local.read(), self._keys.ring()

        self._local_secret, self._ring = await self._disk.call(read, deadline_s=deadline_s)
        await self.programs.recall(deadline_s=deadline_s)

    async def prune(self, *, before: datetime) -> int:
        """Forget sessions that ended long ago.

        Raises:
            DeviceError: the database is away.

        """
        return 0 if self._given is None else await self._given.prune(before=before)

    def stop(self) -> None:
        """End what runs beside the loop."""
        self.hashing.close()

    @property
    def store(self) -> UserStore:
        """The users.

        Raises:
            UnavailableError: this API has no database.

        """
        if self._given is None:
            raise UnavailableError("users: this API has no database")
        return self._given

    @property
    def ring(self) -> KeyRing:
        """The keys that sign and seal.

        Raises:
            UnavailableError: they could not be read yet.

        """
        if self._ring is None:
            raise UnavailableError("access: the signing keys could not be read")
        return self._ring

    def account_changed(self, account: Account) -> None:
        """An account was written just now: it counts from the next request on."""
        self._sessions.forget(user_id=account.user_id)
        self.programs.account_changed(account)

    def sessions_changed(self, user_id: str) -> None:
        """Sessions of somebody were ended just now."""
        self._sessions.forget(user_id=user_id)

    def turned(self, session: Session, account: Account) -> None:
        """A session goes on as it was written just now."""
        self._sessions.learn(session.session_id, (session, account))

    def doubted(self, *, user_id: str | None = None) -> None:
        """Nobody knows whether a change of somebody (of anybody) was written: ask first from now on."""
        self._sessions.doubt(user_id=user_id)
        self.programs.doubted(user_id=user_id)

    async def hashed_for(self, work: Awaitable[_Answer], *, actor: str, peer: str) -> _Answer:
        """Return what hashing returns; that too many wait for it already is written down (SEC-5).

        Raises:
            TooManyError: too many wait already.

        """
        try:
            return await work
        except TooManyError as error:
            self.log.refused(
                "RATE_LIMITED",
                str(error),
                actor=actor,
                peer=peer,
                subject="PASSWORDS",
                severity=Severity.MEDIUM,
            )
            raise

    # ------------------------------------------------------------------ who asks

    async def authenticate(
        self,
        credentials: Sequence[str],
        operation: Operation,
        *,
        peer: str,
        named: str,
        cookie: Shown | None = None,
        looks: bool = False,
    ) -> Principal:
        """Return who asks for `operation`, and only if they may.

        `credentials`: every Authorization header of the request. `named`: who they say they are on this machine.
        `cookie`: a browser's, which counts where there is no such header. `looks`: nothing is done with the right.

        Raises:
            UnauthenticatedError: nobody knows who asks.
            ForbiddenError: it is known, and they may not.
            DeviceError: it cannot be found out now.

        """
        try:
            principal = await self._principal(credentials, operation, peer, named, cookie)
        except NotLookedUpError:
            why = "too many keys that nobody knows are tried: a stop goes by those that are kept here"
            self.log.refused("RATE_LIMITED", why, actor="", peer=peer, subject=operation.value)
            raise
        except UnauthenticatedError as error:
            self.log.refused(
                "ACCESS_REFUSED",
                f"{error} ({operation.value})" if error.shown else str(error),
                actor=error.actor,
                peer=peer,
                subject=error.shown or operation.value,
                severity=Severity.MEDIUM if error.actor else Severity.LOW,
                is_known=bool(error.actor),
            )
            raise
        except TooManyError as error:
            self.log.refused("RATE_LIMITED", str(error), actor="", peer=peer, subject=operation.value)
            raise
        except ForbiddenError as error:
            self.log.refused("ACCESS_DENIED", str(error), actor="", peer=peer, subject=operation.value)
            raise
        if not principal.may(operation):
            why = f"{principal.role.value} may not {operation.value}"
            if principal.operations is not None:
                why = f"this credential may not {operation.value}"
                if operation in PERSONS_ONLY and not principal.session_id:
                    why += ": it takes a person who is logged in (on the command line: --user NAME)"
            self.log.refused(
                "ACCESS_DENIED",
                why,
                actor=principal.user_id,
                peer=peer,
                subject=operation.value,
                severity=Severity.MEDIUM,
                is_known=True,
            )
            raise ForbiddenError(why)
        if principal.is_expired and not looks:
            self.log.done(
                "STOP_BY_EXPIRED_SESSION",
                actor=principal.user_id,
                peer=peer,
                subject=shown(principal.session_id, principal.key_id),
                severity=Severity.HIGH,
            )
        return principal

    async def _principal(
        self,
        credentials: Sequence[str],
        operation: Operation,
        peer: str,
        named: str,
        cookie: Shown | None,
    ) -> Principal:
        if cookie is not None and not credentials:
            if not cookie.proved:
                raise ForbiddenError(
                    "this was not sent by a page of ours (its proof is missing or old): reload"
                )
            return await self._of_token(cookie.token, operation, Use.BROWSER)
        if not credentials:
            raise UnauthenticatedError(
                "log in first (POST /api/v1/auth/login), then send the token as Bearer"
            )
        if len(credentials) > 1 or len(credentials[0]) > _CREDENTIAL_MAX:
            raise UnauthenticatedError("Authorization: expected one header of ordinary length")
        scheme, _, credential = credentials[0].strip().partition(" ")
        credential = credential.strip()
        match scheme.lower():
            case "bearer" if credential.startswith(SERVICE_KEY_PREFIX):
                return await self.programs.principal(credential, operation, peer=peer)
            case "bearer" if credential:
                return await self._of_token(credential, operation)
            case _ if scheme.lower() == LOCAL_SCHEME:
                return self._of_this_machine(credential, peer, named)
            case _:
                raise UnauthenticatedError("Authorization: expected Bearer and a token")

    def _of_this_machine(self, credential: str, peer: str, named: str) -> Principal:
        known = self._local_secret
        good = bool(known) and hmac.compare_digest(known.encode(), credential.encode("utf-8", "replace"))
        if not good or not _is_loopback(peer):
            raise UnauthenticatedError("the local credential is not the one of this run")
        name = unquote(named).strip()[:_NAME_MAX] or "operator"
        if not name.isprintable():
            raise UnauthenticatedError("the local credential names nobody")
        return Principal(
            user_id=f"{LOCAL_PREFIX}{name}", role=UserRole.ADMINISTRATOR, operations=NO_PERSON, is_local=True
        )

    async def _of_token(self, token: str, operation: Operation, use: Use = Use.ACCESS) -> Principal:
        claims = tokens.read(self.ring, token, use, now=self.clock.now().utc)
        stops = operation is Operation.SET_STOP
        who = claims.user_id, shown(claims.session_id)
        if claims.is_expired and not stops:
            raise UnauthenticatedError("the token has expired: refresh it, or log in again", *who)
        deadline_s = _STOP_LOOKUP_DEADLINE_S if stops else _LOOKUP_DEADLINE_S
        try:
            found = await self._sessions.get(claims.session_id, deadline_s=deadline_s)
        except DeviceError:
            if not stops:
                raise
            return _at_its_word(claims)
        if found is None or found[1].user_id != claims.user_id:
            raise UnauthenticatedError("the session is not known: log in again", *who)
        session, account = found
        expired = claims.is_expired
        now = self.clock.now().utc
        match state := state_of(session, account, now=now, idle_s=self.settings.idle_s):
            case SessionState.LIVE:
                pass
            case SessionState.IDLE | SessionState.EXPIRED:
                if not stops:
                    raise UnauthenticatedError("the session has expired: log in again", *who)
                expired = True
            case SessionState.ENDED | SessionState.DISABLED:
                raise UnauthenticatedError(f"the session is over ({state.value.lower()}): log in again", *who)
            case _:
                assert_never(state)
        return Principal(
            user_id=account.user_id,
            role=account.role,
            session_id=session.session_id,
            operations=_BEFORE_CHANGE if account.must_change else None,
            is_expired=expired,
        )

    async def _ask_session(self, session_id: str) -> tuple[Session, Account] | None:
        return await self.store.session(session_id)

    # ------------------------------------------------------------------ sessions that go on, and that end

    async def seen(self, principal: Principal) -> None:
        """Note that somebody sits at a browser: its session, which nothing refreshes, would be idle otherwise.

        At most once in `SEEN_S`: this is a write.

        Raises:
            DeviceError: the database is away: the session is as idle as it was.

        """
        found = await self._sessions.get(principal.session_id, deadline_s=_LOOKUP_DEADLINE_S)
        now = self.clock.now().utc
        idle_s = self.settings.idle_s
        # A short idle time is kept up with, too.
        if found is None or now - found[0].seen_at < timedelta(seconds=min(SEEN_S, idle_s / 4)):
            return
        turned = await self.store.turn(
            principal.session_id, lambda session, account: seen(session, account, now=now, idle_s=idle_s)
        )
        if turned is not None:
            self.turned(*turned)

    async def end_session(self, session_id: str, *, by: Principal, peer: str, reason: str) -> bool:
        """End a session; return whether it lived.

        Raises:
            DeviceError: the database is away: nothing was ended.

        """
        made = self.log.made("SESSION_ENDED", actor=by.user_id, peer=peer, subject=shown(session_id))

        def tell(ended: tuple[Session, ...]) -> tuple[AuditRecord, ...]:
            return tuple(
                msgspec.structs.replace(made, after={"user": each.user_id, "reason": reason})
                for each in ended
            )

        try:
            gone = await self.store.end(
                user_id=None,
                session_id=session_id,
                by=by.user_id,
                reason=reason,
                at=self.clock.now().utc,
                tell=tell,
            )
        except BaseException:
            # Perhaps only the answer was lost.
            self.doubted()
            raise
        self._sessions.forget(key=session_id)
        for _ in gone:
            self.log.count("SESSION_ENDED")
        return bool(gone)


def _at_its_word(claims: Claims) -> Principal:
    return Principal(
        user_id=claims.user_id, role=claims.role, session_id=claims.session_id, is_expired=claims.is_expired
    )


def _is_loopback(peer: str) -> bool:
    return is_loopback(peer.rpartition(":")[0].strip("[]"))
