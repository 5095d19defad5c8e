"""The alarm actor behind fakes: goal: alarms reach the list and the storage actor."""

from __future__ import annotations

import asyncio

from actors.alarm.actor import AlarmActor
from actors.messages import AlarmAsserted, AlarmReturned, Alarms, GetAlarms, Tick
from actors.start import WorkerStart
from actors.vocabulary import Role, Settings, Severity
from actors.vocabulary.ids import ALARM
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
