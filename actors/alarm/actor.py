"""The alarm actor: keeps the list of alarms that everybody asserts to it, and records each life (ALM-1)."""

from __future__ import annotations

from typing import Final, assert_never

from actors.alarm.lifecycle import AlarmList, asserted, returned, settle, view
from actors.messages import AlarmAsserted, AlarmInbox, AlarmReturned, Alarms, GetAlarms, Tick
from actors.outbox import Outbox
from actors.runtime import Ports
from actors.start import WorkerStart

BEAT: Final = "beat"
BEAT_S: Final = 1.0


class AlarmActor:
    """Holds nothing that must survive it: whoever asserts does so again within 15 s."""

    def __init__(self, ports: Ports, start: WorkerStart) -> None:
        self._ports = ports
        self._outbox = Outbox(ports)
        self._alarms = AlarmList()

    async def start(self) -> None:
        """Begin to settle what has returned."""
        self._ports.timers.every(BEAT_S, Tick(what=BEAT))

    async def handle(self, message: AlarmInbox) -> object:
        """Take one message."""
        now = self._ports.clock.now()
        match message:
            case Tick():
                self._alarms, records = settle(self._alarms, now=now)
                self._outbox.put(*records)
            case AlarmAsserted():
                dropped = self._alarms.dropped
                self._alarms, records = asserted(self._alarms, message, now=now)
                self._outbox.put(*records)
                if self._alarms.dropped != dropped:
                    self._ports.log.warning("alarm_list_full", dropped_total=self._alarms.dropped)
            case AlarmReturned():
                self._alarms = returned(self._alarms, message, now=now)
            case GetAlarms():
                return Alarms(alarms=view(self._alarms, now=now))
            case _:
                assert_never(message)
        return None
