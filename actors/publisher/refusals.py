"""Refused writes: all are counted, few are audited, so that a client in a loop cannot fill the disk (MOD-3, SAF-5)."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.vocabulary import Instant, Severity, WriteRefusal
from actors.vocabulary.records import AuditRecord

WINDOW_S: Final = 60.0
RECORDS_PER_WINDOW: Final = 3
# Peers come and go with their ports; beyond this many the one longest quiet is forgotten.
PEERS_MAX: Final = 256


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One client's refusals in the running window."""

    window_began: Instant
    written: int = 0
    suppressed: int = 0


class Refusals(msgspec.Struct, frozen=True, kw_only=True):
    """Refusals by client host, and how many there ever were."""

    total: int = 0
    peers: dict[str, Peer] = msgspec.field(default_factory=dict)


def refused(
    state: Refusals, *, peer: str, path: str, value: object, why: WriteRefusal, record_id: str, now: Instant
) -> tuple[Refusals, AuditRecord | None]:
    """Count one refused write; return its audit record while the client's share of the window lasts.

    The first record of a new window tells how many were suppressed in the window before.
    """
    host = host_of(peer)
    before = state.peers.get(host)
    held = before if before is not None else Peer(window_began=now)
    told_suppressed = 0
    if now.seconds_since(held.window_began) >= WINDOW_S:
        told_suppressed = held.suppressed
        held = Peer(window_began=now)
    record = None
    if held.written < RECORDS_PER_WINDOW:
        record = AuditRecord(
            record_id=record_id,
            at=now.utc,
            event_type="WRITE_REFUSED",
            actor="",
            source_address=peer,
            object_id=path,
            outcome=f"refused: {why.value}",
            severity=Severity.MEDIUM,
            before=None,
            after={"value": repr(value)[:80], "suppressed_before": told_suppressed},
        )
        held = msgspec.structs.replace(held, written=held.written + 1)
    else:
        held = msgspec.structs.replace(held, suppressed=held.suppressed + 1)
    peers = {**state.peers, host: held}
    if len(peers) > PEERS_MAX:
        del peers[min(peers, key=lambda name: peers[name].window_began.boot_ns)]
    return Refusals(total=state.total + 1, peers=peers), record


def host_of(peer: str) -> str:
    """Return the host part of `host:port`: a client that reconnects keeps its share."""
    host, colon, port = peer.rpartition(":")
    return host if colon and port.isdigit() else peer
