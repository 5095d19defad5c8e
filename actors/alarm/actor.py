"""The alarm actor: keeps the list of alarms that everybody asserts to it, and records each life (ALM-1)."""

from __future__ import annotations

from typing import Final, assert_never

from actors.alarm.lifecycle import AlarmList, acknowledged, asserted, returned, settle, taken_over, view
from actors.messages import (
    AcknowledgeAlarm,
    AlarmAsserted,
    AlarmInbox,
    AlarmReturned,
    Alarms,
    Done,
    GetAlarms,
    OpenAlarmsRead,
    ReadOpenAlarms,
    Tick,
)
from actors.outbox import Outbox
from actors.runtime import Ports
from actors.start import WorkerStart
from actors.vocabulary.ids import STORAGE

BEAT: Final = "beat"
BEAT_S: Final = 1.0
# A question that got lost, or that a storage actor took with it, is asked again after so many beats.
ASK_AGAIN_BEATS: Final = 5


class AlarmActor:
    """Holds nothing that must survive it: whoever asserts does so again within 15 s, and the open records come back
    from the database, whenever that answers.
    """

    def __init__(self, ports: Ports, start: WorkerStart) -> None:
        self._ports = ports
        self._outbox = Outbox(ports)
        self._alarms = AlarmList()
        self._taken_over = False
        self._beats = 0

    async def start(self) -> None:
        """Begin to settle what has returned, and ask for what a former life left open."""
        self._ports.timers.every(BEAT_S, Tick(what=BEAT))
        self._ask()

    def _ask(self) -> None:
        self._ports.directory.ref(STORAGE).tell(ReadOpenAlarms())

    async def handle(self, message: AlarmInbox) -> object:
        """Take one message.

        Raises:
            UnknownSubjectError, RefusedError: an acknowledgement of an alarm that is gone, or was seen before.

        """
        now = self._ports.clock.now()
        match message:
            case Tick():
                self._alarms, records = settle(self._alarms, now=now)
                self._outbox.put(*records)
                self._beats += 1
                if not self._taken_over and self._beats % ASK_AGAIN_BEATS == 0:
                    self._ask()
            case AlarmAsserted():
                dropped = self._alarms.dropped
                self._alarms, records = asserted(self._alarms, message, now=now)
                self._outbox.put(*records)
                if self._alarms.dropped != dropped:
                    self._ports.log.warning("alarm_list_full", dropped_total=self._alarms.dropped)
            case AlarmReturned():
                self._alarms = returned(self._alarms, message, now=now)
            case AcknowledgeAlarm():
                self._alarms, records = acknowledged(self._alarms, message, now=now)
                self._outbox.put(*records)
                return Done()
            case OpenAlarmsRead():
                self._taken_over = True
                self._alarms, records = taken_over(self._alarms, message.records, now=now)
                self._outbox.put(*records)
            case GetAlarms():
                return Alarms(alarms=view(self._alarms, now=now), whole=self._taken_over)
            case _:
                assert_never(message)
        return None
