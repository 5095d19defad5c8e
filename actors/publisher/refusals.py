"""Refused writes and clients: all counted, few audited, so that a client in a loop cannot fill the disk (MOD-3)."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.vocabulary import Instant, Severity, WriteRefusal
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.sources import source_of

CLIENT_REFUSED: Final = "refused"
"""The word of protocol servers for a client, or a request of one, that they refuse."""
CERTIFICATE_REPLACED: Final = "certificate_replaced"
CERTIFICATE_UNUSABLE: Final = "certificate_unusable"
"""Their words for files that were taken up, and for such as cannot be: an alarm, which has its own record."""
AUDITED: Final = {
    CLIENT_REFUSED: "CLIENT_REFUSED",
    "certificate_rejected": "CERTIFICATE_REJECTED",
    "limited": "RATE_LIMITED",
    CERTIFICATE_REPLACED: "CERTIFICATE_REPLACED",
}
"""What happened with a client, and the event type of its record; what is not here is logged and counted only."""
WINDOW_S: Final = 60.0
RECORDS_PER_WINDOW: Final = 3
# Peers come and go with their ports; beyond this many the one longest quiet is forgotten.
PEERS_MAX: Final = 256
_WHY_MAX: Final = 300


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
    state: Refusals,
    *,
    peer: str,
    path: str,
    value: object,
    why: WriteRefusal,
    record_id: str,
    now: Instant,
    by: str = "",
) -> tuple[Refusals, AuditRecord | None]:
    """Count one refused write; return its audit record while the client's share of the window lasts.

    The first record of a new window tells how many were suppressed in the window before.
    """
    state, may_tell, suppressed = _counted(state, peer=peer, now=now)
    if not may_tell:
        return state, None
    record = AuditRecord(
        record_id=record_id,
        at=now.utc,
        event_type="WRITE_REFUSED",
        actor=by,
        source_address=peer,
        object_id=path,
        outcome=f"refused: {why.value}",
        severity=Severity.MEDIUM,
        before=None,
        after={"value": repr(value)[:80], "suppressed_before": suppressed},
    )
    return state, record


def client_refused(
    state: Refusals,
    *,
    peer: str,
    protocol: str,
    why: str,
    record_id: str,
    now: Instant,
    event: str = CLIENT_REFUSED,
) -> tuple[Refusals, AuditRecord | None]:
    """Count what happened with a client (`AUDITED`); return its audit record, as sparingly as for writes (SEC-5)."""
    state, may_tell, suppressed = _counted(state, peer=peer, now=now)
    if not may_tell:
        return state, None
    record = AuditRecord(
        record_id=record_id,
        at=now.utc,
        event_type=AUDITED[event],
        actor="",
        source_address=peer,
        object_id=protocol,
        outcome="success" if event == CERTIFICATE_REPLACED else f"refused: {why[:_WHY_MAX]}",
        severity=Severity.MEDIUM,
        after={"suppressed_before": suppressed},
    )
    return state, record


def allowance(state: Refusals, *, peer: str, now: Instant) -> tuple[Refusals, bool, int]:
    """Count one refusal; return whether it may be told, and how many the window before kept back if it is the first."""
    return _counted(state, peer=peer, now=now)


def _counted(state: Refusals, *, peer: str, now: Instant) -> tuple[Refusals, bool, int]:
    """Count one refusal; return whether it may be told, and how many the window before kept back if it is the first."""
    host = host_of(peer)
    before = state.peers.get(host)
    held = before if before is not None else Peer(window_began=now)
    suppressed = 0
    if now.seconds_since(held.window_began) >= WINDOW_S:
        suppressed = held.suppressed
        held = Peer(window_began=now)
    may_tell = held.written < RECORDS_PER_WINDOW
    if may_tell:
        held = msgspec.structs.replace(held, written=held.written + 1)
    else:
        held = msgspec.structs.replace(held, suppressed=held.suppressed + 1)
    peers = {**state.peers, host: held}
    if len(peers) > PEERS_MAX:
        del peers[min(peers, key=lambda name: peers[name].window_began.boot_ns)]
    return Refusals(total=state.total + 1, peers=peers), may_tell, suppressed


def host_of(peer: str) -> str:
    """Return what the sender of `host:port` is counted as: a client that reconnects keeps its share."""
    host, colon, port = peer.rpartition(":")
    return source_of((host if colon and port.isdigit() else peer).strip("[]"))
