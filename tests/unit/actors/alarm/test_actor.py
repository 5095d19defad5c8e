"""The alarm actor behind fakes: goal: alarms reach the list and the storage actor."""

from __future__ import annotations

import asyncio

from actors.alarm.actor import AlarmActor
from actors.messages import (
    AlarmAsserted,
    AlarmReturned,
    Alarms,
    GetAlarms,
    OpenAlarmsRead,
    ReadOpenAlarms,
    Tick,
)
from actors.start import WorkerStart
from actors.vocabulary import Role, Settings, Severity
from actors.vocabulary.ids import ALARM, STORAGE
from actors.vocabulary.records import AlarmRecord
from tests.simulation.fakes import FakePorts


def test_an_alarms_way_through_the_actor() -> None:
    """ALM-1: asserted, shown, returned, recorded at both ends."""

    async def story() -> None:
        ports = FakePorts(str(ALARM))
        actor = AlarmActor(
            ports, WorkerStart(role=Role.ALARM, address=ALARM, settings=Settings(data_dir="x"))
        )
        await actor.start()
        assert [message for _, message in ports.timed] == [Tick(what="beat")]
        now = ports.clock.now()
        await actor.handle(
            AlarmAsserted(condition="c", subject="s", severity=Severity.HIGH, text="t", at=now)
        )
        shown = await actor.handle(GetAlarms())
        assert isinstance(shown, Alarms)
        assert [(alarm.condition, alarm.state) for alarm in shown.alarms] == [("c", "UNACKNOWLEDGED")]
        await actor.handle(AlarmReturned(condition="c", subject="s", at=now.plus(1.0)))
        await ports.clock.advance(25.0)
        await actor.handle(Tick(what="beat"))
        records = await ports.stored()
        await ports.end()
        assert [record.returned_at is None for record in records] == [True, False]

    asyncio.run(story())


def test_a_restarted_actor_asks_until_it_knows_what_was_left_open() -> None:
    """ALM-1: at its start, again while nobody answers, and no more afterwards; what it takes up, it can end."""

    async def story() -> None:
        ports = FakePorts(str(ALARM))
        actor = AlarmActor(
            ports, WorkerStart(role=Role.ALARM, address=ALARM, settings=Settings(data_dir="x"))
        )
        await actor.start()

        async def beats(count: int) -> int:
            for _ in range(count):
                await ports.clock.advance(1.0)
                await actor.handle(Tick(what="beat"))
            return len(ports.told_to(str(STORAGE), ReadOpenAlarms))

        assert await beats(4) == 1
        assert await beats(7) == 3
        now = ports.clock.now()
        left = AlarmRecord(
            record_id="old",
            condition="c",
            subject="s",
            severity=Severity.HIGH,
            text="t",
            raised_at=now.plus(-100.0).utc,
        )
        await actor.handle(OpenAlarmsRead(records=(left,)))
        shown = await actor.handle(GetAlarms())
        assert isinstance(shown, Alarms)
        assert [alarm.alarm_id for alarm in shown.alarms] == ["old"]
        await actor.handle(AlarmReturned(condition="c", subject="s", at=now.plus(1.0)))
        assert await beats(30) == 3
        (closed,) = await ports.stored(AlarmRecord)
        await ports.end()
        assert (closed.record_id, closed.returned_at) == ("old", now.utc)

    asyncio.run(story())
