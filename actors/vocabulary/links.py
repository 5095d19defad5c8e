"""How an endpoint that connects outwards stands with the other side; for reports, health and metrics."""

from __future__ import annotations

import msgspec


class LinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One connection to a broker. Counts are values (not messages); `lost` since the data directory was made.

    `host_online`: the primary host is there, or none is asked for. `session`: birth published, so hosts see values.
    `storage_fault`: why the disk does not take what this connection must remember, '' while it does.
    """

    peer: str
    connected: bool
    host_online: bool
    session: bool
    connects: int
    births: int
    commands: int
    commands_refused: int
    backfill_waiting: int
    backfill_lost: int
    last_error: str = ""
    incoming_dropped: int = 0
    storage_fault: str = ""
