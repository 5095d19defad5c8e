"""Accounts as an administrator, and as their owner, changes them; each change is audited and counts at once (SEC-1)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
import pyotp

from actors.access import accounts as law
from actors.access.passwords import check_form, words_around
from actors.vocabulary import InvalidValueError, RefusedError, Severity, UnknownSubjectError
from actors.vocabulary.access import Operation, UserRole, may
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.users import (
    Account,
    AccountKind,
    Principal,
    ServiceKey,
    Session,
    checked_user_id,
)
from api.access.changes import Changes, as_checked
from api.access.desk import AccessDesk
from api.access.hashing import generated
from api.access.logins import Logins
from api.access.programs import PERSONS_ONLY, SERVICE_KEY_PREFIX, secret_hash

ACCOUNTS_MAX: Final = 1_000
KEYS_MAX: Final = 20
_LABEL_MAX: Final = 100
_DAYS_MAX: Final = 3_650


class Accounts:
    """What can be done to accounts. `by` is whoever does it; the desk has checked that they may."""

    def __init__(self, desk: AccessDesk, logins: Logins) -> None:
        self._desk = desk
        self._logins = logins
        self._changes = Changes(desk)

    # ------------------------------------------------------------------ an administrator's

    async def listed(self) -> tuple[Account, ...]:
        """Return every account.

        Raises:
            DeviceError: the database is away. So everywhere below.

        """
        return await self._desk.store.accounts()

    async def one(self, user_id: str) -> Account:
        """Return one account.

        Raises:
            UnknownSubjectError: there is none of that name.

        """
        found = await self._desk.store.account(user_id.strip().lower())
        if found is None:
            raise UnknownSubjectError(f"user {user_id[:60]!r} is not known")
        return found

    async def add(
        self, user: str, role: UserRole, kind: AccountKind, *, by: Principal, peer: str
    ) -> tuple[Account, str]:
        """Add an account; return it with its generated password, '' for a service account.

        Raises:
            InvalidValueError: this cannot be a name.
            RefusedError: the name is taken, or there are too many accounts.

        """
        user_id = checked_user_id(user)
        if len(await self._desk.store.accounts()) >= ACCOUNTS_MAX:
            raise RefusedError(f"there are {ACCOUNTS_MAX} accounts already")
        now, password, hashed = self._now(), "", ""
        if kind is AccountKind.PERSON:
            password = generated()
            hashed = await self._changes.hashed(password, by, peer)
        account = Account(
            user_id=user_id,
            kind=kind,
            role=role,
            created_at=now,
            created_by=by.user_id,
            password_hash=hashed,
            password_at=now if hashed else None,
            must_change=bool(hashed),
        )
        made = self._made("USER_ADDED", user_id, by, peer, after={"role": role.value, "kind": kind.value})
        await self._desk.store.add(account, records=(made,))
        self._desk.log.count("USER_ADDED")
        return account, password

    async def set_enabled(self, user_id: str, *, enabled: bool, by: Principal, peer: str) -> Account:
        """Enable or disable an account; disabled, its sessions end at once.

        Raises:
            UnknownSubjectError: there is none of that name.
            RefusedError: it is the last administrator.

        """
        return await self._changes.change(
            user_id,
            lambda one, others: law.set_enabled(one, others, enabled=enabled),
            "USER_ENABLED" if enabled else "USER_DISABLED",
            by=by,
            peer=peer,
            ending=None if enabled else self._changes.ending(by, "the account was disabled"),
        )

    async def set_role(self, user_id: str, role: UserRole, *, by: Principal, peer: str) -> Account:
        """Give an account another role; it counts from its next request on.

        Raises:
            UnknownSubjectError: there is none of that name.
            RefusedError: it is the last administrator.

        """
        return await self._changes.change(
            user_id,
            lambda one, others: law.set_role(one, others, role=role),
            "USER_ROLE_SET",
            by=by,
            peer=peer,
        )

    async def reset(self, user_id: str, *, by: Principal, peer: str) -> tuple[Account, str]:
        """Generate a new password and take the second factor away; all sessions end.

        Raises:
            UnknownSubjectError: there is none of that name.
            InvalidValueError: it is a service account.

        """
        password = generated()
        hashed, now = await self._changes.hashed(password, by, peer), self._now()
        account = await self._changes.change(
            user_id,
            lambda one, _: law.without_factor(
                law.set_password(one, password_hash=hashed, at=now, must_change=True)
            ),
            "USER_PASSWORD_RESET",
            by=by,
            peer=peer,
            ending=self._changes.ending(by, "the password was reset"),
        )
        return account, password

    async def sessions(self, user_id: str | None) -> tuple[Session, ...]:
        """Return the sessions that live, of one user or of all."""
        return await self._desk.store.sessions(user_id=user_id, live_at=self._now())

    async def end_sessions(self, user_id: str, *, by: Principal, peer: str) -> int:
        """End all sessions of a user; return how many.

        Raises:
            UnknownSubjectError: there is none of that name.

        """
        account = await self.one(user_id)
        made = self._made("USER_SESSIONS_ENDED", account.user_id, by, peer)

        def tell(ended: tuple[Session, ...]) -> tuple[AuditRecord]:
            return (msgspec.structs.replace(made, after={"count": len(ended)}),)

        try:
            gone = await self._desk.store.end(
                user_id=account.user_id,
                session_id=None,
                by=by.user_id,
                reason="ended by an administrator",
                at=self._now(),
                tell=tell,
            )
        except BaseException:
            self._desk.doubted(user_id=account.user_id)
            raise
        self._desk.sessions_changed(account.user_id)
        self._desk.log.count("USER_SESSIONS_ENDED")
        return len(gone)

    # ------------------------------------------------------------------ keys of service accounts

    async def keys(self, user_id: str) -> tuple[ServiceKey, ...]:
        """Return the keys of a service account, revoked ones too.

        Raises:
            UnknownSubjectError: there is none of that name.

        """
        return await self._desk.store.keys((await self.one(user_id)).user_id)

    async def live_keys(self) -> tuple[ServiceKey, ...]:
        """Return every key that is not revoked, of every account that is enabled."""
        return tuple(key for key, _ in await self._desk.store.live_keys())

    async def add_key(
        self,
        user_id: str,
        *,
        label: str,
        operations: Sequence[Operation],
        days: float | None,
        by: Principal,
        peer: str,
    ) -> tuple[ServiceKey, str]:
        """Make a key; return it with what its program sends, which nobody can read again.

        Raises:
            UnknownSubjectError: there is no such account.
            InvalidValueError: it is a person's, or the scope holds what its role may not do.
            RefusedError: it has too many keys.

        """
        account = await self.one(user_id)
        if account.kind is not AccountKind.SERVICE:
            raise InvalidValueError(
                f"user {account.user_id}: a person logs in; keys are for service accounts"
            )
        wide = [each.value for each in operations if not may(account.role, each)]
        if wide:
            raise InvalidValueError(f"operations: {account.role.value} may not {', '.join(wide)}")
        if persons := sorted(PERSONS_ONLY.intersection(operations)):
            raise InvalidValueError(
                f"operations: {', '.join(persons)}: takes two persons, and a program is neither"
            )
        if len(label) > _LABEL_MAX or not label.isprintable():
            raise InvalidValueError(f"label: expected at most {_LABEL_MAX} printable characters")
        if days is not None and not 0.0 < days <= _DAYS_MAX:
            raise InvalidValueError(f"days: {days:g}, expected above 0, at most {_DAYS_MAX}")
        held = await self._desk.store.keys(account.user_id)
        if sum(each.revoked_at is None for each in held) >= KEYS_MAX:
            raise RefusedError(f"user {account.user_id}: has {KEYS_MAX} keys, revoke one first")
        now, secret = self._now(), secrets.token_hex(32)
        key = ServiceKey(
            key_id=secrets.token_hex(8),
            user_id=account.user_id,
            secret_hash=secret_hash(secret),
            created_at=now,
            created_by=by.user_id,
            label=label,
            operations=tuple(dict.fromkeys(operations)),
            expires_at=None if days is None else now + timedelta(days=days),
        )
        scope = [each.value for each in key.operations]
        after: dict[str, object] = {"key_id": key.key_id, "operations": scope}
        made = self._made("SERVICE_KEY_ADDED", account.user_id, by, peer, after=after)
        await self._desk.store.add_key(key, records=(made,))
        self._desk.programs.key_changed(key, account)
        self._desk.log.count("SERVICE_KEY_ADDED")
        return key, f"{SERVICE_KEY_PREFIX}{key.key_id}_{secret}"

    async def revoke_key(self, key_id: str, *, by: Principal, peer: str) -> ServiceKey:
        """Revoke a key; it is worth nothing from the next request on. One that is revoked already stays as it is.

        Raises:
            UnknownSubjectError: there is no such key.

        """
        made = self._made("SERVICE_KEY_REVOKED", "", by, peer, after={"key_id": key_id})

        def tell(key: ServiceKey) -> tuple[AuditRecord]:
            return (msgspec.structs.replace(made, object_id=_subject(key.user_id)),)

        try:
            found = await self._desk.store.revoke_key(key_id, by=by.user_id, at=self._now(), tell=tell)
        except BaseException:
            # Perhaps only the answer was lost: then it counts no more, and must not be taken for good.
            self._desk.doubted()
            raise
        if found is None:
            raise UnknownSubjectError(f"key {key_id[:60]!r} is not known")
        key, is_now = found
        self._desk.programs.key_changed(key, None)
        if is_now:
            self._desk.log.count("SERVICE_KEY_REVOKED")
        return key

    # ------------------------------------------------------------------ one's own

    async def change_password(self, *, by: Principal, current: str, new: str, peer: str) -> None:
        """Change one's own password; all other sessions end.

        Raises:
            ForbiddenError: `current` is wrong.
            InvalidValueError: the new one is not taken, and why.
            TooManyError: too many tries.

        """
        account = await self.one(by.user_id)
        await self._logins.check_password(account, current, peer=peer)
        if new == current:
            raise InvalidValueError("password: the same as before, expected another one")
        check_form(new)
        # Beside the loop: it is a long look into long lists.
        judging = self._desk.hashing.judged(new, words_around(account.user_id))
        why = await self._desk.hashed_for(judging, actor=by.user_id, peer=peer)
        if why:
            raise InvalidValueError(f"password: {why}; expected one that is not among the first guesses")
        hashed, now = await self._changes.hashed(new, by, peer), self._now()
        await self._changes.change(
            account.user_id,
            lambda one, _: law.set_password(
                as_checked(one, account), password_hash=hashed, at=now, must_change=False
            ),
            "PASSWORD_CHANGED",
            by=by,
            peer=peer,
            ending=self._changes.ending(by, "the password was changed", but=by.session_id),
        )

    async def begin_factor(self, *, by: Principal, password: str, peer: str) -> tuple[str, str]:
        """Make the secret of a second factor; it counts once its first code was given. Return it, and as an URI.

        Raises:
            ForbiddenError: the password is wrong.
            RefusedError: there is one already.

        """
        account = await self.one(by.user_id)
        await self._logins.check_password(account, password, peer=peer)
        secret = pyotp.random_base32()
        sealed = self._desk.ring.seal(secret)

        def want(one: Account, _: tuple[Account, ...]) -> Account:
            if as_checked(one, account).totp:
                raise RefusedError("there is a second factor already: remove it first")
            return msgspec.structs.replace(one, totp_wanted=sealed)

        await self._changes.change(account.user_id, want, "SECOND_FACTOR_BEGUN", by=by, peer=peer)
        return secret, pyotp.TOTP(secret).provisioning_uri(name=account.user_id, issuer_name="Calejo")

    async def confirm_factor(self, *, by: Principal, code: str, peer: str) -> None:
        """Let a second factor count, by its first code.

        Raises:
            InvalidValueError: the code is not one of now.
            RefusedError: none was begun.

        """
        account = await self.one(by.user_id)
        if not account.totp_wanted:
            raise RefusedError("no second factor was begun")
        step = self._logins.step_of(self._desk.ring.unseal(account.totp_wanted), code)
        if not step:
            raise InvalidValueError("code: not the one of now; is the clock of the other device right?")

        def take(one: Account, _: tuple[Account, ...]) -> Account:
            if one.totp_wanted != account.totp_wanted or step <= one.totp_step:
                raise RefusedError("this code, or this secret, was used before: begin again")
            return msgspec.structs.replace(one, totp=one.totp_wanted, totp_wanted="", totp_step=step)

        await self._changes.change(account.user_id, take, "SECOND_FACTOR_SET", by=by, peer=peer)

    async def remove_factor(self, *, by: Principal, password: str, peer: str) -> None:
        """Take one's own second factor away.

        Raises:
            ForbiddenError: the password is wrong.

        """
        account = await self.one(by.user_id)
        await self._logins.check_password(account, password, peer=peer)
        await self._changes.change(
            account.user_id,
            lambda one, _: law.without_factor(as_checked(one, account)),
            "SECOND_FACTOR_REMOVED",
            by=by,
            peer=peer,
        )

    # ------------------------------------------------------------------ inside

    def _made(
        self,
        event: str,
        user_id: str,
        by: Principal,
        peer: str,
        *,
        after: dict[str, object] | None = None,
    ) -> AuditRecord:
        """Return the record of what is done to an account, which is written together with it."""
        return self._desk.log.made(
            event,
            actor=by.user_id,
            peer=peer,
            subject=_subject(user_id),
            severity=Severity.HIGH,
            after=after,
        )

    def _now(self) -> datetime:
        return self._desk.clock.now().utc


def _subject(user_id: str) -> str:
    return f"USER:{user_id}"
