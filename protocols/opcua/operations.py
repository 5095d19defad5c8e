"""What clients can do beside reading and writing: methods, conditions, history; one object that a request asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from asyncua import ua

from actors.vocabulary.client_calls import ShownAlarms
from protocols.endpoint import CallDesk, PastReader
from protocols.opcua.address_space import AddressSpace
from protocols.opcua.calling import Calls
from protocols.opcua.condition_nodes import ConditionNodes
from protocols.opcua.conditions import Conditions
from protocols.opcua.history import History
from protocols.opcua.model_changes import DELETED, ModelChange, event_of
from protocols.opcua.refusals import Refusals

if TYPE_CHECKING:
    from protocols.opcua.session import Session, Sessions


class EndpointOperations:
    """Methods, conditions and history of one endpoint."""

    def __init__(self, sessions: Sessions, space: AddressSpace) -> None:
        self._subscriptions: Final = sessions.bounded_subscriptions
        self._conditions: Final = Conditions(ConditionNodes(sessions.aspace), tell=self._subscriptions.tell)
        self._calls: Final = Calls(space.place_of, self._conditions)
        self._history: Final = History(space.slot_of, space.status_of)
        space.on_changes = self._changed

    def operate(self, *, call: CallDesk, past: PastReader) -> None:
        """Take what answers."""
        self._calls.operate(call)
        self._history.operate(past)

    def open(self, refusals: Refusals) -> None:
        """Take who hears of refusals that reach nobody else."""
        self._calls.open(refusals)

    def show_alarms(self, alarms: ShownAlarms) -> None:
        """Show the site's alarms as they are now."""
        self._conditions.show(alarms)

    async def call(
        self, items: Sequence[ua.CallMethodRequest], session: Session
    ) -> list[ua.CallMethodResult]:
        """Answer every call of a request."""
        return await self._calls.answer(items, session)

    async def history_read(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """Answer every node of a request."""
        return await self._history.answer(params)

    def _changed(self, changes: list[ModelChange]) -> None:
        for change in changes:
            if change.verb == DELETED:
                self._conditions.forget_object(change.path)
            else:
                self._conditions.found_object(change.path)
        self._subscriptions.tell(event_of(changes))
