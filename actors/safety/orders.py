"""A person's orders to a station's safety: a clean-out begun, ended, refused; what is recorded of it; pure (CTL-6)."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.messages import StartCleanOut, StopCleanOut
from actors.safety.conditions import observe
from actors.safety.types import CleanOutOrder, KernelState, RoundInput
from actors.station.clean_out import why_not
from actors.vocabulary import Instant, InvalidValueError, RefusedError, Severity
from actors.vocabulary.records import AuditRecord

LASTS_S_MIN: Final = 10.0


def begun(
    message: StartCleanOut, round_input: RoundInput | None, kernel: KernelState, *, now: Instant
) -> CleanOutOrder:
    """Return the order that a person gave; the same order if it was given before.

    Raises:
        InvalidValueError: the time asked for is none, or beyond what is configured.
        RefusedError: it would end at once, or another clean-out is under way; the text says why.

    """
    known = kernel.clean_out
    if known is not None and known.order_id == message.command_id:
        return known
    if round_input is None:
        raise RefusedError(f"pump {message.pump_id}: its station is not configured")
    if known is not None and not known.over:
        raise RefusedError(
            f"pump {message.pump_id}: {known.by} has a clean-out under way with {known.pump_id}"
        )
    facts, _ = observe(round_input, kernel, now=now)
    if (why := why_not(message.pump_id, facts, round_input.station)) != "":
        raise RefusedError(f"pump {message.pump_id}: {why}")
    settings = round_input.station.duties.clean_out
    assert settings is not None, "why_not has said so"
    lasts_s = settings.run_s if message.lasts_s is None else message.lasts_s
    if not LASTS_S_MIN <= lasts_s <= settings.run_s:
        text = f"lasts_s is {lasts_s!r}, expected {LASTS_S_MIN:g}..{settings.run_s:g} s (clean_out_run_s)"
        raise InvalidValueError(f"pump {message.pump_id}: {text}")
    return CleanOutOrder(
        order_id=message.command_id,
        pump_id=message.pump_id,
        by=message.by,
        reason=message.reason,
        since=now,
        until=now.plus(lasts_s),
    )


def ended(message: StopCleanOut, known: CleanOutOrder | None) -> CleanOutOrder | None:
    """Return the order as a person ended it; None: there is none of this pump to end."""
    if known is None or known.over or known.pump_id != message.pump_id:
        return None
    return msgspec.structs.replace(known, over=f"ended by {message.by}: {message.reason}")


def begin_record(order: CleanOutOrder, message: StartCleanOut, *, now: Instant) -> AuditRecord:
    """Return the audit of an order that is in force now."""
    return AuditRecord(
        record_id=f"clean-out:{order.order_id}:begun",
        at=now.utc,
        event_type="CLEAN_OUT_STARTED",
        actor=order.by,
        source_address=message.source_address,
        object_id=f"PUMP:{order.pump_id}",
        outcome="success",
        severity=Severity.HIGH,
        after={"reason": order.reason, "until": order.until.utc.isoformat()},
        correlation_id=order.order_id,
    )


def refusal_record(message: StartCleanOut, why: str, *, now: Instant) -> AuditRecord:
    """Return the audit of an order that was refused."""
    return AuditRecord(
        record_id=f"clean-out:{message.command_id}:refused",
        at=now.utc,
        event_type="CLEAN_OUT_REFUSED",
        actor=message.by,
        source_address=message.source_address,
        object_id=f"PUMP:{message.pump_id}",
        outcome="refused",
        severity=Severity.MEDIUM,
        after={"reason": message.reason, "why": why},
        correlation_id=message.command_id,
    )


def end_record(order: CleanOutOrder, *, now: Instant, address: str) -> AuditRecord:
    """Return the audit of an order that has ended, by a person or by itself."""
    return AuditRecord(
        record_id=f"clean-out:{order.order_id}:ended",
        at=now.utc,
        event_type="CLEAN_OUT_ENDED",
        actor="calejo",
        source_address=address,
        object_id=f"PUMP:{order.pump_id}",
        outcome="done" if order.began else "not begun",
        severity=Severity.MEDIUM,
        before={"by": order.by, "since": order.since.utc.isoformat(), "reason": order.reason},
        after={"why": order.over},
        correlation_id=order.order_id,
    )
