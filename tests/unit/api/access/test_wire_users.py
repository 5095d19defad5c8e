"""Users at the door of a wire: the same passwords, keys and waiting as for REST, also while users are away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from actors.vocabulary import CallerError, DeviceError
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.callers import Caller, Shown
from actors.vocabulary.records import AuditRecord, Record
from actors.vocabulary.users import Account, AccountKind, ServiceKey
from api.access import wire_users
from api.access.hashing import hash_now
from api.access.programs import secret_hash
from api.access.security_log import STRANGERS_PER_PERIOD, SecurityLog
from api.access.wire_users import REMEMBERED_S, WireUsers
from protocols.opcua.doorkeeper import Standing
from tests.simulation.fakes import FakeClock
from tests.unit.api.people import Users

PASSWORD = "the pumps sing at night"
HASH = hash_now(PASSWORD)
PEER = "192.0.2.7:50123"


class Door:
    """A doorkeeper with its users, its clock and what it wrote down."""

    def __init__(self) -> None:
        self.clock, self.users = FakeClock(), Users()
        self.records: list[AuditRecord] = []
        log = SecurityLog(self._take, self.clock)
        self.door = WireUsers(self.users, log=log, clock=self.clock, wire="OPC UA")
        self.put("anna", UserRole.OPERATOR)

    def _take(self, records: Iterable[Record]) -> None:
        self.records += [each for each in records if isinstance(each, AuditRecord)]

    def put(self, name: str, role: UserRole, **changed: Any) -> Account:
        account = Account(
            user_id=name,
            kind=AccountKind.PERSON,
            role=role,
            created_at=self.clock.now().utc,
            created_by="local:root",
            password_hash=HASH,
            password_at=self.clock.now().utc,
        )
        self.users.by_id[name] = msgspec.structs.replace(account, **changed)
        return self.users.by_id[name]

    def change(self, name: str, **changed: Any) -> None:
        self.users.by_id[name] = msgspec.structs.replace(self.users.by_id[name], **changed)

    def key(self, **changed: Any) -> str:
        self.put("scada", UserRole.OPERATOR, kind=AccountKind.SERVICE, password_hash="")
        key = ServiceKey(
            key_id="k1",
            user_id="scada",
            secret_hash=secret_hash("5ec2e7"),
            created_at=self.clock.now().utc,
            created_by="root",
        )
        self.users.keys_by_id["k1"] = msgspec.structs.replace(key, **changed)
        return "calejo_k1_5ec2e7"

    async def enters(self, name: str = "anna", password: str = PASSWORD) -> Caller:
        return await self.door.by_password(name, password, peer=PEER)

    async def refuses(self, name: str = "anna", password: str = PASSWORD) -> str:
        with pytest.raises(CallerError) as error:
            await self.enters(name, password)
        return str(error.value)

    def outcomes(self, event: str) -> list[str]:
        return [each.outcome for each in self.records if each.event_type == event]


def told(story: Callable[[Door], Awaitable[None]]) -> None:
    async def run() -> None:
        door = Door()
        try:
            await story(door)
        finally:
            door.door._hashing.close()

    asyncio.run(run())


def test_a_person_comes_in_by_name_and_password() -> None:
    """SEC-1, SEC-2: with their role, written down with address and wire."""

    async def story(one: Door) -> None:
        caller = await one.enters(" Anna ")
        assert (caller.name, caller.roles, caller.how) == (
            "anna",
            frozenset({UserRole.OPERATOR}),
            Shown.PASSWORD,
        )
        (record,) = one.records
        assert (record.event_type, record.actor, record.source_address, record.object_id) == (
            "LOGIN",
            "anna",
            PEER,
            "OPC UA",
        )
        assert await one.door.standing(caller) is Standing.GOOD

    told(story)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"enabled": False}, "disabled"),
        ({"must_change": True}, "changed first"),
        ({"totp": "sealed"}, "second factor"),
        ({"kind": AccountKind.SERVICE}, "key"),
        ({"password_hash": ""}, "wrong name or password"),
    ],
)
def test_who_may_not_come_in_this_way(changed: dict[str, Any], why: str) -> None:
    """SEC-1: the right password is not enough; the reason is for the trail, and the session ends as well."""

    async def story(one: Door) -> None:
        before = await one.enters()
        one.change("anna", **changed)
        assert why in await one.refuses()
        assert any(why in each for each in one.outcomes("LOGIN"))
        if why != "wrong name or password":
            assert await one.door.standing(before) is Standing.OVER

    told(story)


def test_failures_make_wait_and_are_told() -> None:
    """SEC-1, SEC-5: five failures cost nothing, then the account waits, right password or not; all counted."""

    async def story(one: Door) -> None:
        for _ in range(5):
            assert "wrong" in await one.refuses(password="no")
        assert "try again" in await one.refuses()
        assert one.outcomes("ACCOUNT_LOCKED") == ["refused: for 1 s"]
        assert one.door.counts["LOGIN", "refused"] == 6
        await one.clock.advance(1.5)
        await one.enters()

    told(story)


def test_a_login_of_ones_own_forgives_no_guesses_at_others() -> None:
    """SEC-1: of an address's failures only those at the account that came in are forgiven."""

    async def story(one: Door) -> None:
        for number in range(20):
            await one.refuses(f"guessed{number}", "no")
            if number < 19:
                await one.enters()
        assert "try again" in await one.refuses()

    told(story)


def test_strangers_from_everywhere_fill_no_trail() -> None:
    """SEC-5: of all strangers together so much a minute; what concerns who exists is written down."""

    async def story(one: Door) -> None:
        for number in range(1_000):
            peer = f"2001:db8:{number:x}::1:443"
            one.door.tell("CLIENT_REFUSED", actor="", peer=peer, refused="no")
        assert len(one.records) == STRANGERS_PER_PERIOD
        assert one.door.counts["CLIENT_REFUSED", "refused"] == 1_000
        await one.refuses("anna", "no")
        assert [each.actor for each in one.records if each.event_type == "LOGIN"] == ["anna"]
        await one.clock.advance(61.0)
        one.door.tell("CLIENT_REFUSED", actor="", peer="198.51.100.1:1", refused="no")
        assert one.records[-1].after == {"suppressed_before": 1_000 - STRANGERS_PER_PERIOD}, "none is lost"

    told(story)


def test_a_flood_writes_little_and_counts_all() -> None:
    """SEC-5: ten refusals a minute of one address are written down, and one success; the rest is a number."""

    async def story(one: Door) -> None:
        for _ in range(300):
            await one.refuses("nobody", "no")
        assert len(one.records) <= 2 * 10
        assert one.door.counts["LOGIN", "refused"] == 300
        await one.clock.advance(3_700.0)
        before = len(one.outcomes("LOGIN"))
        for _ in range(5):
            await one.enters()
        assert len(one.outcomes("LOGIN")) == before + 1
        assert one.door.counts["LOGIN", "success"] == 5
        await one.clock.advance(61.0)
        await one.enters()
        assert one.records[-1].after == {"since_last_record": 4}

    told(story)


def test_a_program_comes_in_with_its_key() -> None:
    """SEC-1, SEC-2: within the key's scope, never as a second person; revoked or expired it is over."""

    async def story(one: Door) -> None:
        credential = one.key(operations=(Operation.READ_POINTS, Operation.SET_STOP))
        caller = await one.enters("scada", credential)
        assert (caller.how, caller.proof) == (Shown.KEY, "k1")
        assert {each for each in Operation if caller.may(each)} == {Operation.READ_POINTS, Operation.SET_STOP}
        assert await one.door.standing(caller) is Standing.GOOD
        assert "another account" in await one.refuses("anna", credential)
        assert "not known" in await one.refuses("scada", "calejo_k1_wrong")
        now = one.clock.now().utc
        for changed, why in (
            ({"revoked_at": now}, "revoked"),
            ({"expires_at": now - timedelta(seconds=1)}, "expired"),
        ):
            one.key(**changed)
            assert why in await one.refuses("scada", credential)
            assert await one.door.standing(caller) is Standing.OVER
        one.key()
        assert not (await one.enters("scada", credential)).may(Operation.APPROVE_LIMITS)

    told(story)


def test_a_changed_role_or_password_ends_what_came_before() -> None:
    """SEC-1: a session is worth what its user was let in for, no more and no longer."""

    async def story(one: Door) -> None:
        caller = await one.enters()
        one.change("anna", role=UserRole.READ_ONLY)
        assert await one.door.standing(caller) is Standing.OVER
        caller = await one.enters()
        await one.clock.advance(1.0)
        one.change("anna", password_at=one.clock.now().utc)
        # Also if the owner has come in with the new one meanwhile.
        newer = await one.enters()
        assert await one.door.standing(caller) is Standing.OVER
        assert await one.door.standing(newer) is Standing.GOOD
        del one.users.by_id["anna"]
        assert await one.door.standing(newer) is Standing.OVER

    told(story)


def test_while_the_database_is_away_only_who_was_here_comes_in() -> None:
    """DAT-3, SEC-1: for an hour, with the same password; keys, strangers and the disabled do not; sessions stay."""

    async def story(one: Door) -> None:
        caller, credential = await one.enters(), one.key()
        one.put("bert", UserRole.OPERATOR)
        one.put("carl", UserRole.OPERATOR)
        await one.enters("carl")
        one.change("carl", enabled=False)
        carl = Caller(name="carl", roles=frozenset({UserRole.OPERATOR}), how=Shown.PASSWORD)
        assert await one.door.standing(carl) is Standing.OVER
        one.users.away = True
        assert await one.door.standing(caller) is Standing.UNKNOWN
        await one.enters()
        assert "wrong" in await one.refuses(password="no")
        for name, password in (("bert", PASSWORD), ("carl", PASSWORD), ("scada", credential)):
            with pytest.raises(DeviceError):
                await one.enters(name, password)
        asked = one.users.asked
        with pytest.raises(DeviceError):
            await one.enters("bert")
        assert one.users.asked == asked, "while it is known to be away nobody waits for it"
        await one.clock.advance(REMEMBERED_S + 1.0)
        with pytest.raises(DeviceError):
            await one.enters()
        one.users.away = False
        await one.clock.advance(wire_users.AWAY_S)
        await one.enters()

    told(story)


def test_a_database_that_hangs_keeps_nobody_waiting_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """DAT-3: refused within the deadline, and the next one at once."""

    async def story(one: Door) -> None:
        monkeypatch.setattr(wire_users, "LOOKUP_S", 0.05)

        async def never(_: str) -> Account | None:
            await asyncio.Event().wait()
            return None

        monkeypatch.setattr(one.users, "account", never)
        for _ in range(3):
            async with asyncio.timeout(5):
                with pytest.raises(DeviceError):
                    await one.enters()

    told(story)
