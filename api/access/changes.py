"""How an account is changed: with the end of its sessions and its record, all of that or nothing (SEC-1, SEC-5)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from actors.vocabulary import CallerError, RefusedError, Severity
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.users import Account, Ending, Principal, Session
from api.access.desk import AccessDesk


class Changes:
    """Changes accounts; what was changed counts at the desk from the next request on."""

    def __init__(self, desk: AccessDesk) -> None:
        self._desk = desk

    async def change(
        self,
        user_id: str,
        decide: Callable[[Account, tuple[Account, ...]], Account],
        event: str,
        *,
        by: Principal,
        peer: str,
        ending: Ending | None = None,
    ) -> Account:
        """Change an account, end its sessions and tell the audit log of it: all of that, or nothing.

        Raises:
            UnknownSubjectError: there is no such account.
            CallerError: as `decide` raises.
            DeviceError: the database is away: nobody knows whether it was written.

        """
        user_id = user_id.strip().lower()
        # One record, however often the transaction is tried.
        made = self._desk.log.made(
            event, actor=by.user_id, peer=peer, subject=f"USER:{user_id}", severity=Severity.HIGH
        )

        def tell(before: Account, after: Account, ended: tuple[Session, ...]) -> tuple[AuditRecord]:
            was: dict[str, object] = {}
            now: dict[str, object] = {}
            if before.role is not after.role:
                was, now = {"role": before.role.value}, {"role": after.role.value}
            if ended:
                now["sessions_ended"] = [each.session_id for each in ended]
            return (msgspec.structs.replace(made, before=was or None, after=now or None),)

        try:
            account = await self._desk.store.change(user_id, decide, ending=ending, tell=tell)
        except CallerError:
            raise
        except BaseException:
            # Perhaps the answer was lost, or whoever asked went away: then nobody knows whether it was written.
            self._desk.doubted(user_id=user_id)
            raise
        self._desk.log.count(event)
        self._desk.account_changed(account)
        return account

    async def hashed(self, password: str, by: Principal, peer: str) -> str:
        """Return a new hash.

        Raises:
            TooManyError: too many wait already.

        """
        work = self._desk.hashing.hashed(password)
        return await self._desk.hashed_for(work, actor=by.user_id, peer=peer)

    def ending(self, by: Principal, reason: str, *, but: str = "") -> Ending:
        """Return that all sessions of an account end now, but for the one named."""
        return Ending(by=by.user_id, reason=reason, at=self._desk.clock.now().utc, but=but)


def as_checked(one: Account, checked: Account) -> Account:
    """Return the account if its password is still the one that was asked for.

    Raises:
        RefusedError: somebody has changed it meanwhile.

    """
    if one.password_hash != checked.password_hash or not one.enabled:
        raise RefusedError("the account was changed meanwhile: log in again")
    return one
