"""Logging in, going on and proving once more who one is: passwords, second factors, tokens, and waiting (SEC-1)."""

from __future__ import annotations

import hmac
import uuid
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import msgspec
import pyotp

from actors.access.buckets import Buckets
from actors.access.sessions import LIVE_MAX, REUSED, Turn, refreshed
from actors.vocabulary import DeviceError, RefusedError, Severity
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.sources import source_of_peer
from actors.vocabulary.users import Account, AccountKind, Session
from api.access import tokens
from api.access.desk import AccessDesk
from api.access.errors import ForbiddenError, TooManyError, UnauthenticatedError
from api.access.failures import Failures
from api.access.programs import shown
from api.access.tokens import Use

TOTP_STEP_S: Final = 30
_TOTP_STEPS_AROUND: Final = 1
_PASSWORD_MAX: Final = 1_024
# Of all sessions of a user together: an access token lasts ten minutes, and one has at most twenty sessions.
TURNS_PER_S: Final = 0.5
_TURNS_BURST_S: Final = 60.0
_NAME_MAX: Final = 60


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a login gives: both tokens and how long they are good for (s)."""

    access_token: str
    refresh_token: str
    expires_in_s: float
    refresh_expires_in_s: float
    user: str
    role: str
    must_change_password: bool
    token_type: str = "Bearer"  # noqa: S105  (the scheme's name)


class Logins:
    """Opens sessions and turns them; counts who failed, per account and per source address."""

    def __init__(self, desk: AccessDesk, failures: Failures) -> None:
        self._desk = desk
        self._failures = failures
        self._turning = Buckets(per_s=TURNS_PER_S, burst_s=_TURNS_BURST_S)

    async def login(self, *, user: str, password: str, code: str, peer: str, client: str) -> Tokens:
        """Open a session for a person with the right password, and the right code if they have a second factor.

        Raises:
            UnauthenticatedError: name, password or code is wrong, or the account is disabled; the text does not tell.
            TooManyError: this account or address has failed too often, or too many log in at once.
            DeviceError: the database is away.

        """
        opened = await self._opened(user=user, password=password, code=code, peer=peer, client=client)
        return self._tokens(*opened, opened[0].started_at)

    async def login_browser(
        self, *, user: str, password: str, code: str, peer: str, client: str
    ) -> tuple[str, Account]:
        """Open a session as `login` does; return the token of its cookie, and whose it is.

        One token for the whole session: several windows of a browser share it, so it cannot be turned like a
        program's refresh token. That the session lives is asked at every request.

        Raises:
            UnauthenticatedError, TooManyError, DeviceError: as `login`.

        """
        session, account = await self._opened(
            user=user, password=password, code=code, peer=peer, client=client
        )
        token = tokens.issued(
            self._desk.ring,
            Use.BROWSER,
            session,
            account,
            now=session.started_at,
            expires_at=session.expires_at,
        )
        return token, account

    async def _opened(
        self, *, user: str, password: str, code: str, peer: str, client: str
    ) -> tuple[Session, Account]:
        name, address = user.strip().lower()[:_NAME_MAX], source_of_peer(peer)
        await self._not_waiting(name, address, peer)
        account = await self._desk.store.account(name)
        hashed = "" if account is None or len(password) > _PASSWORD_MAX else account.password_hash
        good, better = await self._verified(name, password, hashed, peer)
        if account is None or not good or not account.enabled or account.kind is not AccountKind.PERSON:
            raise await self._login_failed(
                name, address, peer, "wrong name or password", is_known=account is not None
            )
        step = 0
        if account.totp:
            if not code:
                # The plainest sign of a stolen password: written down and counted, though its owner has to be told.
                await self._login_failed(name, address, peer, "password right, code missing", is_known=True)
                raise UnauthenticatedError("code: this account has a second factor, give its code")
            step = self.step_of(self._desk.ring.unseal(account.totp), code)
            if not step:
                raise await self._login_failed(name, address, peer, "wrong code", is_known=True)
        now = self._desk.clock.now().utc
        session = Session(
            session_id=str(uuid.uuid4()),
            user_id=name,
            started_at=now,
            seen_at=now,
            expires_at=now + timedelta(seconds=self._desk.settings.session_s),
            source_address=peer,
            client=client[:200],
        )
        still = partial(self._still, account=account, better=better, step=step)
        tell = partial(self._told_of_login, made=self._made(session, peer), peer=peer, session=session)
        try:
            account, dropped = await self._desk.store.begin(
                session, live_max=LIVE_MAX, decide=still, tell=tell
            )
        except RefusedError as error:
            raise await self._login_failed(name, address, peer, str(error), is_known=True) from error
        await self._failures.succeeded(name, address)
        for _ in dropped:
            self._desk.sessions_changed(name)
            self._desk.log.count("SESSION_ENDED")
        self._desk.log.count("LOGIN")
        return session, account

    def _made(self, session: Session, peer: str) -> AuditRecord:
        """Return the record of a login: one, however often its transaction is tried."""
        return self._desk.log.made(
            "LOGIN", actor=session.user_id, peer=peer, subject=shown(session.session_id)
        )

    def _told_of_login(
        self,
        _before: Account,
        account: Account,
        dropped: tuple[Session, ...],
        *,
        made: AuditRecord,
        peer: str,
        session: Session,
    ) -> tuple[AuditRecord, ...]:
        after = {
            "sessions_ended": [each.session_id for each in dropped],
            "second_factor": bool(account.totp),
            "ends_at": session.expires_at.isoformat(),
        }
        ended = (
            self._desk.log.made(
                "SESSION_ENDED",
                actor=session.user_id,
                peer=peer,
                subject=shown(each.session_id),
                severity=Severity.LOW,
                after={"user": session.user_id, "reason": "too many sessions"},
            )
            for each in dropped
        )
        return (msgspec.structs.replace(made, after=after), *ended)

    async def refresh(self, token: str, *, peer: str) -> Tokens:
        """Give new tokens for a refresh token, which counts once.

        Raises:
            UnauthenticatedError: the token is none, was used before (which ends its session), or its session is over.
            DeviceError: the database is away.

        """
        now = self._desk.clock.now().utc
        try:
            claims = tokens.read(self._desk.ring, token, Use.REFRESH, now=now)
            if claims.is_expired:
                who = claims.user_id, shown(claims.session_id)
                raise UnauthenticatedError("the refresh token has expired: log in again", *who)
        except UnauthenticatedError as error:
            known = bool(error.actor)
            self._desk.log.refused(
                "TOKEN_REFRESH", str(error), actor=error.actor, peer=peer, subject=error.shown, is_known=known
            )
            raise
        self._not_turning_on_and_on(claims.user_id, peer)
        turns: list[Turn] = []

        def decide(session: Session, account: Account) -> Session:
            turn = refreshed(
                session, account, generation=claims.generation, now=now, idle_s=self._desk.settings.idle_s
            )
            turns[:] = [turn]
            return turn.session

        try:
            found = await self._desk.store.turn(claims.session_id, decide)
        except DeviceError:
            self._desk.doubted(user_id=claims.user_id)
            raise
        if found is not None:
            self._desk.turned(*found)
        why = "the session is not known" if found is None else turns[0].refusal
        if why == REUSED:
            # Two have it: that must not be lost in a flood of other refusals.
            self._ended(claims.session_id, claims.user_id, peer, REUSED, severity=Severity.HIGH)
        if found is None or why:
            self._desk.log.refused(
                "TOKEN_REFRESH",
                why,
                actor=claims.user_id,
                peer=peer,
                subject=shown(claims.session_id),
                severity=Severity.HIGH,
                is_known=True,
            )
            raise UnauthenticatedError(f"{why}: log in again")
        self._desk.log.often(
            "TOKEN_REFRESH", actor=claims.user_id, peer=peer, subject=shown(claims.session_id)
        )
        return self._tokens(*found, now)

    async def check_password(self, account: Account, password: str, *, peer: str) -> None:
        """Return if it is the account's password: asked again before one's own credentials are changed.

        Raises:
            ForbiddenError: it is not.
            TooManyError: as `login`.

        """
        address = source_of_peer(peer)
        await self._not_waiting(account.user_id, address, peer)
        good, _ = await self._verified(account.user_id, password, account.password_hash, peer)
        if not good:
            await self._login_failed(account.user_id, address, peer, "wrong password", is_known=True)
            raise ForbiddenError("password: not the one of this account")

    def step_of(self, secret: str, code: str) -> int:
        """Return the time step whose code this is, 0: it is none of now."""
        at = int(self._desk.clock.now().utc.timestamp()) // TOTP_STEP_S
        totp = pyotp.TOTP(secret, interval=TOTP_STEP_S)
        plain = code.strip().replace(" ", "")
        for step in range(at - _TOTP_STEPS_AROUND, at + _TOTP_STEPS_AROUND + 1):
            if plain.isascii() and hmac.compare_digest(totp.generate_otp(step), plain):
                return step
        return 0

    def _still(self, one: Account, *, account: Account, better: str, step: int) -> Account:
        """Return the account with what a login changes, if it is still the one that was checked.

        Raises:
            RefusedError: password or second factor were changed meanwhile, or the code was used (RFC 6238, 5.2).

        """
        unchanged = one.password_hash == account.password_hash and bool(one.totp) == bool(account.totp)
        if not one.enabled or not unchanged:
            raise RefusedError("the account was changed meanwhile")
        if better:
            one = msgspec.structs.replace(one, password_hash=better)
        if not one.totp:
            return one
        # Sealed anew, so that a key of the ring that was replaced can go one day.
        ring = self._desk.ring
        secret = ring.unseal(one.totp)
        if secret != ring.unseal(account.totp):
            raise RefusedError("the account was changed meanwhile")
        if step <= one.totp_step:
            raise RefusedError("this code was used before")
        return msgspec.structs.replace(one, totp_step=step, totp=ring.seal(secret))

    async def _verified(self, name: str, password: str, hashed: str, peer: str) -> tuple[bool, str]:
        comparing = self._desk.hashing.verified(password[:_PASSWORD_MAX], hashed)
        return await self._desk.hashed_for(comparing, actor=name, peer=peer)

    def _ended(
        self, session_id: str, user_id: str, peer: str, reason: str, *, severity: Severity = Severity.LOW
    ) -> None:
        self._desk.log.done(
            "SESSION_ENDED",
            actor=user_id,
            peer=peer,
            subject=shown(session_id),
            severity=severity,
            after={"user": user_id, "reason": reason},
        )

    def _not_turning_on_and_on(self, user_id: str, peer: str) -> None:
        """Let a user turn sessions as often as programs need to: each turn is a write.

        Raises:
            TooManyError: more often.

        """
        wait_s = self._turning.take(user_id, self._desk.clock.now())
        if wait_s > 0.0:
            why = "refreshes too often"
            self._desk.log.refused(
                "RATE_LIMITED", why, actor=user_id, peer=peer, severity=Severity.MEDIUM, is_known=True
            )
            raise TooManyError(f"{user_id} {why}: try again in {wait_s:.0f} s", wait_s)

    async def _not_waiting(self, name: str, address: str, peer: str) -> None:
        await self._failures.recall()
        wait_s = self._failures.wait_s(name, address)
        if wait_s > 0.0:
            why = "too many failures"
            self._desk.log.refused("LOGIN", why, actor=name, peer=peer, severity=Severity.MEDIUM)
            raise TooManyError(f"too many failed logins: try again in {wait_s:.0f} s", wait_s)

    async def _login_failed(
        self, name: str, address: str, peer: str, why: str, *, is_known: bool
    ) -> UnauthenticatedError:
        locked_s = await self._failures.failed(name, address)
        self._desk.log.refused(
            "LOGIN", why, actor=name, peer=peer, severity=Severity.MEDIUM, is_known=is_known
        )
        if locked_s > 0.0:
            self._desk.log.refused(
                "ACCOUNT_LOCKED",
                f"for {locked_s:.0f} s",
                actor=name,
                peer=peer,
                severity=Severity.HIGH,
                is_known=is_known,
            )
        return UnauthenticatedError("wrong name, password or code")

    def _tokens(self, session: Session, account: Account, now: datetime) -> Tokens:
        until = min(session.expires_at, now + timedelta(seconds=self._desk.settings.token_s))
        refresh_until = min(session.expires_at, now + timedelta(seconds=self._desk.settings.idle_s))

        def make(use: Use, expires_at: datetime) -> str:
            return tokens.issued(self._desk.ring, use, session, account, now=now, expires_at=expires_at)

        return Tokens(
            access_token=make(Use.ACCESS, until),
            refresh_token=make(Use.REFRESH, refresh_until),
            expires_in_s=(until - now).total_seconds(),
            refresh_expires_in_s=(refresh_until - now).total_seconds(),
            user=account.user_id,
            role=account.role.value,
            must_change_password=account.must_change,
        )
