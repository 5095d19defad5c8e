"""ServiceLevel and ServerStatus: what clients with a choice of servers go by (OPC-4; OPC 10000-4, 6.6.2.4.2)."""

from __future__ import annotations

from copy import copy
from typing import Final

from asyncua import ua
from asyncua.server.internal_server import InternalServer

from protocols.opcua.ids import standard

NO_DATA: Final = 1
HEALTHY: Final = 255


def state_at(level: int) -> ua.ServerState:
    """Return the server's state at a service level: without data it is there, and cannot say anything of the plant."""
    return ua.ServerState.Running if level > NO_DATA else ua.ServerState.CommunicationFault


class Health:
    """Shows the level that the publisher last told, once it differs from what is shown."""

    def __init__(self, server: InternalServer) -> None:
        self._server = server
        self._shown: int | None = None
        self.level = NO_DATA

    def forget(self) -> None:
        """Whatever is shown was written over: show again."""
        self._shown = None

    async def show(self) -> None:
        """Write level and state into the address space; subscribers are told."""
        if self.level == self._shown:
            return
        level, state = self.level, state_at(self.level)
        await self._write(ua.ObjectIds.Server_ServiceLevel, ua.Variant(level, ua.VariantType.Byte))
        status = copy(await self._server.server_status_node.read_value())
        status.State = state
        await self._server.server_status_node.write_value(status)
        await self._write(
            ua.ObjectIds.Server_ServerStatus_State, ua.Variant(int(state), ua.VariantType.Int32)
        )
        self._shown = level

    async def _write(self, number: int, value: ua.Variant) -> None:
        await self._server.write_attribute_value(standard(number), ua.DataValue(value))
