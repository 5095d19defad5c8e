"""Logging in, going on and proving once more who one is: passwords, second factors, tokens, and waiting (SEC-1)."""

from __future__ import annotations

import hmac
import uuid
from datetime import datetime, timedelta
from typing import Final

import msgspec
import pyotp

from actors.access.sessions import LIVE_MAX, Turn, refreshed
from actors.vocabulary import RefusedError, Severity
from actors.vocabulary.users import Account, AccountKind, Session
from api.access import tokens
from api.access.desk import AccessDesk, host_of
from api.access.errors import ForbiddenError, TooManyError, UnauthenticatedError
from api.access.failures import Failures
from api.access.tokens import Use

TOTP_STEP_S: Final = 30
_TOTP_STEPS_AROUND: Final = 1
_PASSWORD_MAX: Final = 1_024
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

    async def login(self, *, user: str, password: str, code: str, peer: str, client: str) -> Tokens:
        """Open a session for a person with the right password, and the right code if they have a second factor.

        Raises:
            UnauthenticatedError: name, password or code is wrong, or the account is disabled; the text does not tell.
            TooManyError: this account or address has failed too often, or too many log in at once.
            DeviceError: the database is away.

        """
        name, address = user.strip().lower()[:_NAME_MAX], host_of(peer)
        await self._not_waiting(name, address, peer)
        account = await self._desk.store.account(name)
        hashed = "" if account is None or len(password) > _PASSWORD_MAX else account.password_hash
        good, better = await self._desk.hashing.verified(password[:_PASSWORD_MAX], hashed)
        if account is None or not good or not account.enabled or account.kind is not AccountKind.PERSON:
            raise await self._login_failed(name, address, peer, "wrong name or password")
        if account.totp:
            if not code:
                raise UnauthenticatedError("code: this account has a second factor, give its code")
            account = await self._with_code(account, code, name, address, peer)
        if better:
            account = await self._desk.store.change(
                name, lambda one, _: msgspec.structs.replace(one, password_hash=better)
            )
        await self._failures.succeeded(name, address)
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
        dropped = await self._desk.store.begin(session, live_max=LIVE_MAX)
        if dropped:
            self._desk.changed()
        self._desk.log.done(
            "LOGIN",
            actor=name,
            peer=peer,
            subject=f"SESSION:{session.session_id}",
            after={"sessions_ended": list(dropped), "second_factor": bool(account.totp)},
        )
        return self._tokens(session, account, now)

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
                raise UnauthenticatedError("the refresh token has expired: log in again")
        except UnauthenticatedError as error:
            self._desk.log.refused("TOKEN_REFRESH", str(error), actor="", peer=peer)
            raise
        turns: list[Turn] = []

        def decide(session: Session, account: Account) -> Session:
            turn = refreshed(
                session, account, generation=claims.generation, now=now, idle_s=self._desk.settings.idle_s
            )
            turns[:] = [turn]
            return turn.session

        found = await self._desk.store.turn(claims.session_id, decide)
        self._desk.changed()
        why = "the session is not known" if found is None else turns[0].refusal
        if found is None or why:
            self._desk.log.refused(
                "TOKEN_REFRESH",
                why,
                actor=claims.user_id,
                peer=peer,
                subject=f"SESSION:{claims.session_id}",
                severity=Severity.HIGH,
            )
            raise UnauthenticatedError(f"{why}: log in again")
        return self._tokens(*found, now)

    async def check_password(self, account: Account, password: str, *, peer: str) -> None:
        """Return if it is the account's password: asked again before one's own credentials are changed.

        Raises:
            ForbiddenError: it is not.
            TooManyError: as `login`.

        """
        await self._not_waiting(account.user_id, host_of(peer), peer)
        good, _ = await self._desk.hashing.verified(password[:_PASSWORD_MAX], account.password_hash)
        if not good:
            await self._login_failed(account.user_id, host_of(peer), peer, "wrong password")
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

    async def _with_code(self, account: Account, code: str, name: str, address: str, peer: str) -> Account:
        """Take a code of the second factor, once (RFC 6238, 5.2)."""
        secret = self._desk.ring.unseal(account.totp)
        step = self.step_of(secret, code)
        if not step:
            raise await self._login_failed(name, address, peer, "wrong code")

        def take(one: Account, _: tuple[Account, ...]) -> Account:
            if step <= one.totp_step:
                raise RefusedError("this code was used before")
            return msgspec.structs.replace(one, totp_step=step, totp=self._desk.ring.seal(secret))

        try:
            return await self._desk.store.change(name, take)
        except RefusedError as error:
            raise await self._login_failed(name, address, peer, str(error)) from error

    async def _not_waiting(self, name: str, address: str, peer: str) -> None:
        await self._failures.recall()
        wait_s = self._failures.wait_s(name, address)
        if wait_s > 0.0:
            why = "too many failures"
            self._desk.log.refused("LOGIN", why, actor=name, peer=peer, severity=Severity.MEDIUM)
            raise TooManyError(f"too many failed logins: try again in {wait_s:.0f} s", wait_s)

    async def _login_failed(self, name: str, address: str, peer: str, why: str) -> UnauthenticatedError:
        locked_s = await self._failures.failed(name, address)
        self._desk.log.refused("LOGIN", why, actor=name, peer=peer, severity=Severity.MEDIUM)
        if locked_s > 0.0:
            self._desk.log.refused(
                "ACCOUNT_LOCKED", f"for {locked_s:.0f} s", actor=name, peer=peer, severity=Severity.HIGH
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
