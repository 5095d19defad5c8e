"""Users, sessions and keys in a database: the same tests run on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import msgspec
import pytest

from actors.access.sessions import Turn, ended, refreshed
from actors.access.store import UserStore
from actors.vocabulary import DeviceError, RefusedError, UnknownSubjectError
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.users import Account, AccountKind, Ending, ServiceKey, Session
from storage.users import DatabaseUsers
from tests.unit.api.people import Users
from tests.unit.storage.contract import NOON, Place, audit_record, awaited, moment

T = TypeVar("T")


def account(user_id: str = "anna", **changed: object) -> Account:
    made = Account(
        user_id=user_id,
        kind=AccountKind.PERSON,
        role=UserRole.OPERATOR,
        created_at=NOON,
        created_by="local:root",
        password_hash="$argon2id$x",
    )
    return msgspec.structs.replace(made, **changed)


def session(number: int = 1, user_id: str = "anna", **changed: object) -> Session:
    made = Session(
        session_id=f"s{number}",
        user_id=user_id,
        started_at=moment(number),
        seen_at=moment(number),
        expires_at=moment(43_200 + number),
        source_address="127.0.0.1:1",
    )
    return msgspec.structs.replace(made, **changed)


def same(one: Account) -> Account:
    return one


def on_users(place: Place | Users, work: Callable[[UserStore], Awaitable[T]]) -> T:
    """Open the store as the API does, do `work`, close; the one in memory is open."""
    if isinstance(place, Users):
        return asyncio.run(awaited(work(place)))
    return place.with_pools(DatabaseUsers, work)


def _refusing(place: Place | Users) -> Callable[[UserStore], AbstractContextManager[None]]:
    """Return what has the audit log refuse for a while."""

    @contextmanager
    def refusing(_: UserStore) -> Iterator[None]:
        if isinstance(place, Users):
            place.silent = True
            try:
                yield
            finally:
                place.silent = False
            return

        async def full(*_: object) -> None:
            raise DeviceError("audit_log: no space left on device")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("storage.users.audit.append", full)
            yield

    return refusing


class UsersContract:
    """What every store must do, the one in memory too."""

    def test_an_account_comes_back_as_it_was_and_its_name_is_given_once(self, place: Place | Users) -> None:
        """SEC-1: added, found, listed; a second of that name is refused, also once the first is disabled."""

        async def work(users: UserStore) -> None:
            anna = account(password_at=moment(5), must_change=True, totp_step=7)
            await users.add(anna)
            await users.add(account("bert", kind=AccountKind.SERVICE, password_hash=""))
            assert await users.account("anna") == anna
            assert await users.account("nobody") is None
            assert [each.user_id for each in await users.accounts()] == ["anna", "bert"]
            await users.change("anna", lambda one, _: msgspec.structs.replace(one, enabled=False))
            with pytest.raises(RefusedError, match="exists already"):
                await users.add(anna)
            assert (await users.accounts())[0].enabled is False

        on_users(place, work)

    def test_a_change_sees_the_others_and_writes_nothing_when_it_refuses(self, place: Place | Users) -> None:
        """SEC-1: decided on what is there, in one transaction."""

        async def work(users: UserStore) -> None:
            await users.add(account())
            await users.add(account("bert", role=UserRole.ADMINISTRATOR))
            seen: list[str] = []

            def refuse(one: Account, others: tuple[Account, ...]) -> Account:
                seen.extend(each.user_id for each in others)
                raise RefusedError("no")

            with pytest.raises(RefusedError, match="no"):
                await users.change("anna", refuse)
            assert seen == ["bert"]
            changed = await users.change(
                "anna", lambda one, _: msgspec.structs.replace(one, role=UserRole.ENGINEER, totp="sealed")
            )
            assert await users.account("anna") == changed
            with pytest.raises(UnknownSubjectError):
                await users.change("carl", lambda one, _: one)

        on_users(place, work)

    def test_one_session_too_many_ends_the_oldest(self, place: Place | Users) -> None:
        """SEC-1: a mass of sessions is bounded per user; other users' sessions are left alone."""

        async def work(users: UserStore) -> None:
            await users.add(account())
            await users.add(account("bert"))
            await users.begin(session(99, "bert"), live_max=3, decide=same)
            dropped = [
                (await users.begin(session(number), live_max=3, decide=same))[1] for number in range(1, 6)
            ]
            assert dropped == [(), (), (), ("s1",), ("s2",)]
            live = await users.sessions(user_id="anna", live_at=moment(10))
            assert [each.session_id for each in live] == ["s5", "s4", "s3"]
            assert len(await users.sessions(user_id="anna", live_at=None)) == 5
            found = await users.session("s1")
            assert found is not None
            assert (found[0].ended_by, found[0].end_reason) == ("anna", "too many sessions")
            assert len(await users.sessions(user_id=None, live_at=moment(10))) == 4

        on_users(place, work)

    def test_of_two_refreshes_at_once_one_is_a_reuse(self, place: Place | Users) -> None:
        """SEC-1: a refresh token counts once, also when it comes twice at the same moment."""

        async def work(users: UserStore) -> None:
            await users.add(account())
            await users.begin(session(), live_max=3, decide=same)
            turns: list[Turn] = []

            def decide(one: Session, owner: Account) -> Session:
                turn = refreshed(one, owner, generation=0, now=moment(60), idle_s=1800)
                turns.append(turn)
                return turn.session

            await asyncio.gather(users.turn("s1", decide), users.turn("s1", decide))
            assert sorted(bool(turn.refusal) for turn in turns) == [False, True]
            found = await users.session("s1")
            assert found is not None
            assert found[0].ended_at == moment(60)
            assert found[0].generation == 1
            assert await users.turn("nobody", decide) is None

        on_users(place, work)

    def test_sessions_end_once_by_user_or_one_by_one(self, place: Place | Users) -> None:
        """SEC-1: disabling ends all of a user's sessions; an end that is written keeps its reason."""

        async def work(users: UserStore) -> None:
            await users.add(account())
            for number in (1, 2, 3):
                await users.begin(session(number), live_max=9, decide=same)
            one = await users.end(user_id=None, session_id="s2", by="anna", reason="logout", at=moment(9))
            assert [each.session_id for each in one] == ["s2"]
            rest = await users.end(
                user_id="anna", session_id=None, by="root", reason="disabled", at=moment(10)
            )
            assert sorted(each.session_id for each in rest) == ["s1", "s3"]
            assert await users.end(user_id="anna", session_id=None, by="x", reason="y", at=moment(11)) == ()
            found = await users.session("s2")
            assert found is not None
            assert found[0].end_reason == "logout"
            assert await users.prune(before=moment(9.5)) == 1
            assert await users.session("s2") is None

        on_users(place, work)

    def test_an_end_by_law_is_what_is_stored(self, place: Place | Users) -> None:
        """SEC-1: what `turn` decides comes back."""

        async def work(users: UserStore) -> None:
            await users.add(account())
            await users.begin(session(), live_max=3, decide=same)
            turned = await users.turn("s1", lambda one, _: ended(one, by="anna", reason="r", at=moment(2)))
            assert turned is not None
            assert await users.session("s1") == turned

        on_users(place, work)

    def test_a_session_begins_on_the_account_as_it_is_now_or_not_at_all(self, place: Place | Users) -> None:
        """SEC-1: what a login checked may be gone: then nothing is written, of the account neither."""

        async def work(users: UserStore) -> None:
            await users.add(account())

            def unchanged(one: Account) -> Account:
                if one.password_hash != "$argon2id$x":
                    raise RefusedError("changed meanwhile")
                return msgspec.structs.replace(one, password_hash="$argon2id$better", totp_step=9)

            after, _ = await users.begin(session(1), live_max=3, decide=unchanged)
            assert (after.password_hash, after.totp_step) == ("$argon2id$better", 9)
            assert await users.account("anna") == after
            with pytest.raises(RefusedError, match="meanwhile"):
                await users.begin(session(2), live_max=3, decide=unchanged)
            assert await users.session("s2") is None
            assert await users.account("anna") == after
            with pytest.raises(UnknownSubjectError):
                await users.begin(session(3, "nobody"), live_max=3, decide=same)

        on_users(place, work)

    def test_a_change_ends_sessions_and_tells_of_it_at_once(self, place: Place | Users) -> None:
        """SEC-1, SEC-5: account, sessions and record are written together; if one cannot be, none is."""
        ending = Ending(by="root", reason="disabled", at=moment(5), but="s2")

        async def work(users: UserStore) -> None:
            await users.add(account())
            await users.add(account("bert"))
            for number in (1, 2, 3):
                await users.begin(session(number), live_max=9, decide=same)
            await users.begin(session(4, "bert"), live_max=9, decide=same)

            def refuse(before: Account, after: Account, ended: tuple[Session, ...]) -> list[AuditRecord]:
                raise RefusedError("no record")

            def disable(one: Account, _: tuple[Account, ...]) -> Account:
                return msgspec.structs.replace(one, enabled=False)

            def tell(before: Account, after: Account, ended: tuple[Session, ...]) -> list[AuditRecord]:
                assert (before.enabled, after.enabled) == (True, False)
                told.append(sorted(each.session_id for each in ended))
                return [audit_record(1)]

            told: list[list[str]] = []
            if not isinstance(users, Users):
                with pytest.raises(RefusedError, match="no record"):
                    await users.change("anna", disable, ending=ending, tell=refuse)
                found = await users.account("anna")
                assert found is not None
                assert found.enabled
                assert len(await users.sessions(user_id="anna", live_at=moment(10))) == 3
            await users.change("anna", disable, ending=ending, tell=tell)
            assert told == [["s1", "s3"]]
            live = await users.sessions(user_id=None, live_at=moment(10))
            assert sorted(each.session_id for each in live) == ["s2", "s4"]
            ended_one = await users.session("s1")
            assert ended_one is not None
            assert (ended_one[0].ended_by, ended_one[0].end_reason) == ("root", "disabled")

        on_users(place, work)

    def test_the_keys_that_count_are_read_with_their_owners(self, place: Place | Users) -> None:
        """EST-3: every key that is not revoked, of every account that is enabled; an expired one too."""

        def key(key_id: str, user_id: str, **changed: object) -> ServiceKey:
            made = ServiceKey(
                key_id=key_id, user_id=user_id, secret_hash=key_id * 32, created_at=NOON, created_by="root"
            )
            return msgspec.structs.replace(made, **changed)

        async def work(users: UserStore) -> None:
            assert await users.live_keys() == ()
            scada = account("scada", kind=AccountKind.SERVICE, password_hash="")
            gone = account("gone", kind=AccountKind.SERVICE, password_hash="", enabled=False)
            await users.add(scada)
            await users.add(gone)
            one, old = (
                key("k1", "scada", operations=(Operation.SET_STOP,)),
                key("k2", "scada", expires_at=NOON),
            )
            for each in (one, old, key("k3", "scada"), key("k4", "gone")):
                await users.add_key(each)
            await users.revoke_key("k3", by="root", at=moment(1))
            assert await users.live_keys() == ((one, scada), (old, scada))

        on_users(place, work)

    def test_a_key_is_kept_by_its_hash_and_revoked_once(self, place: Place | Users) -> None:
        """SEC-1: service accounts with scoped keys."""
        key = ServiceKey(
            key_id="k1",
            user_id="scada",
            secret_hash="0" * 64,
            created_at=NOON,
            created_by="root",
            operations=(Operation.READ_POINTS, Operation.SET_STOP),
        )

        async def work(users: UserStore) -> None:
            owner = account("scada", kind=AccountKind.SERVICE, password_hash="")
            await users.add(owner)
            await users.add_key(key)
            assert await users.key("k1") == (key, owner)
            assert await users.keys("scada") == (key,)
            assert await users.key("k2") is None
            told: list[ServiceKey] = []

            def tell(one: ServiceKey) -> list[AuditRecord]:
                told.append(one)
                return []

            done = await users.revoke_key("k1", by="root", at=moment(1), tell=tell)
            assert done is not None
            revoked, is_now = done
            assert (revoked.revoked_at, is_now) == (moment(1), True)
            again = await users.revoke_key("k1", by="other", at=moment(2), tell=tell)
            assert again == (revoked, False)
            assert await users.revoke_key("k2", by="other", at=moment(2), tell=tell) is None
            assert told == [revoked], "what was revoked before is not told again"

        on_users(place, work)

    def test_what_the_log_does_not_take_is_not_done(self, place: Place | Users) -> None:
        """SEC-1, SEC-5: no account, key, session or end of one without its record: both, or neither."""
        refuse = _refusing(place)

        async def work(users: UserStore) -> None:
            records = [audit_record(1)]
            await users.add(account(), records=records)
            scada = account("scada", kind=AccountKind.SERVICE, password_hash="")
            await users.add(scada)
            key = ServiceKey(
                key_id="k1", user_id="scada", secret_hash="0" * 64, created_at=NOON, created_by="root"
            )
            await users.add_key(key, records=[audit_record(2)])
            await users.begin(session(1), live_max=1, decide=same)
            with refuse(users):
                with pytest.raises(DeviceError):
                    await users.add(account("bert"), records=[audit_record(3)])
                other = msgspec.structs.replace(key, key_id="k2")
                with pytest.raises(DeviceError):
                    await users.add_key(other, records=[audit_record(4)])
                with pytest.raises(DeviceError):
                    await users.revoke_key("k1", by="root", at=moment(1), tell=lambda _: [audit_record(5)])
                with pytest.raises(DeviceError):
                    await users.begin(session(2), live_max=1, decide=same, tell=lambda *_: [audit_record(6)])
                with pytest.raises(DeviceError):
                    await users.end(
                        user_id="anna", session_id=None, by="root", reason="r", at=moment(5),
                        tell=lambda _: [audit_record(7)],
                    )  # fmt: skip
            assert await users.account("bert") is None
            assert await users.keys("scada") == (key,)
            assert [each.session_id for each in await users.sessions(user_id=None, live_at=moment(10))] == [
                "s1"
            ]
            seen: list[tuple[str, ...]] = []

            def tell(ended: tuple[Session, ...]) -> list[AuditRecord]:
                seen.append(tuple(each.session_id for each in ended))
                return [audit_record(8)]

            def tell_begun(_: Account, after: Account, ended: tuple[Session, ...]) -> list[AuditRecord]:
                assert after.user_id == "anna"
                return tell(ended)

            await users.begin(session(2), live_max=1, decide=same, tell=tell_begun)
            await users.end(user_id="anna", session_id=None, by="root", reason="r", at=moment(5), tell=tell)
            assert seen == [("s1",), ("s2",)]

        on_users(place, work)


class DatabaseUsersContract(UsersContract):
    """And what every database must do besides."""

    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM users",
            "UPDATE users SET user_id = 'other'",
            "UPDATE users SET kind = 'SERVICE', password_hash = ''",
            "UPDATE users SET role = 'GOD'",
            "UPDATE users SET password_hash = 'plain text'",
            (
                "INSERT INTO users (user_id, kind, role, created_at, created_by)"
                " VALUES ('Anna', 'PERSON', 'OPERATOR', '2026-06-01T12:00:00+00:00', 'x')"
            ),
        ],
    )
    def test_the_database_itself_keeps_names_and_words(self, place: Place, statement: str) -> None:
        """SEC-1: nobody is deleted or renamed, no other role exists, no password stands in the clear."""
        on_users(place, lambda users: users.add(account()))
        with pytest.raises(place.refusal):
            place.execute(statement)

    def test_a_key_that_nobody_can_read_costs_the_others_nothing(self, place: Place) -> None:
        """EST-3: a row of SQL with an operation that there is not lets nobody in, and keeps nobody out."""

        def key(key_id: str) -> ServiceKey:
            return ServiceKey(
                key_id=key_id, user_id="scada", secret_hash="0" * 64, created_at=NOON, created_by="root"
            )

        async def fill(users: UserStore) -> None:
            await users.add(account("scada", kind=AccountKind.SERVICE, password_hash=""))
            await users.add_key(key("good"))
            await users.add_key(key("odd"))

        async def read(users: UserStore) -> None:
            assert [each.key_id for each, _ in await users.live_keys()] == ["good"]
            with pytest.raises(DeviceError, match="odd"):
                await users.key("odd")

        on_users(place, fill)
        for odd in ('["NEVER"]', "5"):
            place.execute("UPDATE service_keys SET operations = ? WHERE key_id = 'odd'", odd)
            on_users(place, read)

    @pytest.mark.parametrize("how", ["begin", "change"])
    def test_nobody_changes_an_account_while_it_is_judged(self, place: Place, how: str) -> None:
        """SEC-1: between what is read and what is written no other client gets in, also with SQL of its own."""
        changed = threading.Event()

        def other() -> None:
            place.execute("UPDATE users SET password_hash = '$argon2id$other' WHERE user_id = 'anna'")
            changed.set()

        thread = threading.Thread(target=other)

        def decide(one: Account, _: tuple[Account, ...] = ()) -> Account:
            if not thread.is_alive():
                thread.start()
            assert not changed.wait(0.5), "it waits until what was judged is written"
            return msgspec.structs.replace(one, password_hash="$argon2id$better", totp_step=3)

        async def work(users: UserStore) -> None:
            await users.add(account())
            if how == "begin":
                await users.begin(session(), live_max=3, decide=decide)
            else:
                await users.change("anna", decide)
            assert await asyncio.to_thread(changed.wait, 10.0)
            found = await users.account("anna")
            assert found is not None
            assert (found.password_hash, found.totp_step) == ("$argon2id$other", 3)

        on_users(place, work)
        thread.join(10.0)

    def test_what_a_change_tells_stands_in_the_audit_log(self, place: Place) -> None:
        """SEC-5, AUD-1: in the same transaction, behind what stood there."""

        async def work(users: UserStore) -> None:
            await users.add(account())
            for number in (1, 2):
                record = audit_record(number)
                await users.change("anna", lambda one, _: one, tell=lambda *_, told=record: (told,))

        on_users(place, work)
        found = place.execute("SELECT sequence, record_id FROM audit_log ORDER BY sequence")
        assert [tuple(row) for row in found] == [(1, "a1"), (2, "a2")]

    def test_a_text_is_a_value_never_a_statement(self, place: Place) -> None:
        """SEC-1: what looks like SQL is a name that nobody has."""
        hostile = "x' OR '1'='1"

        async def work(users: UserStore) -> None:
            await users.add(account())
            assert await users.account(hostile) is None
            assert await users.session(hostile) is None
            assert await users.key(hostile) is None
            await users.begin(session(client=hostile + "\0\ud800"), live_max=3, decide=same)
            found = await users.session("s1")
            assert found is not None
            assert found[0].client.startswith(hostile)

        on_users(place, work)
