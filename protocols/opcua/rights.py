"""What the present caller may do at a node, by the one table of permissions (OPC-4, SEC-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asyncua import ua

from actors.vocabulary.access import Operation
from protocols.opcua.identity import current_caller
from protocols.opcua.methods import BY_NODE
from protocols.points import FEEDBACK_POINTS, Access, Point

if TYPE_CHECKING:
    from protocols.opcua.address_space import AddressSpace

_OPERATIONS: Final = {
    "emergency_stop": Operation.SET_STOP,
    "scada_heartbeat": Operation.WRITE_HEARTBEAT,
    "setpoint_request": Operation.REQUEST_SETPOINT,
    "mode_request": Operation.SET_MODE,
    **dict.fromkeys(FEEDBACK_POINTS, Operation.WRITE_FEEDBACK),
}


def operation_of(point: Point) -> Operation:
    """Return what writing a point is."""
    # A point that this table forgets is nobody's to write until it is in there: no role configures by writing points.
    return _OPERATIONS.get(point.point, Operation.MANAGE_USERS)


class Rights:
    """UserAccessLevel and UserExecutable as they are for whoever asks."""

    def __init__(self, space: AddressSpace) -> None:
        self._space = space

    def __call__(self, node_id: ua.NodeId, attribute: Any) -> ua.DataValue | None:
        """Return the attribute's value for the present caller; None: the node's own value counts."""
        if attribute == ua.AttributeIds.UserExecutable:
            found = BY_NODE.get(node_id)
            if found is None:
                return None
            allowed = current_caller().may(found[1].operation)
            return ua.DataValue(ua.Variant(allowed, ua.VariantType.Boolean))
        slot = self._space.slot_of(node_id)
        if slot is None:
            return None
        return ua.DataValue(ua.Variant(self._access(slot.point), ua.VariantType.Byte))

    def _access(self, point: Point) -> int:
        caller, level = current_caller(), 0
        whole = self._space.access_of(point)
        if caller.may(Operation.READ_POINTS):
            level |= ua.AccessLevel.CurrentRead.mask
        if whole & ua.AccessLevel.HistoryRead.mask and caller.may(Operation.READ_PLANT):
            level |= ua.AccessLevel.HistoryRead.mask
        if point.access is not Access.READ and caller.may(operation_of(point)):
            level |= ua.AccessLevel.CurrentWrite.mask
        return level & whole
