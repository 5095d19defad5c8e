"""When a pump enters and leaves failsafe, and what a proposal must look like to be believed (SAF-3, WDG-2)."""

from __future__ import annotations

from typing import Final

from actors.messages import Proposal, ProposalSource
from actors.safety.limits import ABSURD_HZ, is_finite_number
from actors.safety.types import Failsafe
from actors.vocabulary import Instant, Mode, Reason

INVALID_TICKS_MAX: Final = 3
"""So many bad proposals in a row keep the last safe value; the next one is failsafe (SAF-3)."""

# A stale plan is nothing to an operator's value: MANUAL leaves these at once (WDG-2).
PLAN_REASONS: Final = frozenset(
    {Reason.FAILSAFE_PLAN_EXPIRED, Reason.FAILSAFE_OPTIMISER_STALE, Reason.FAILSAFE_DATABASE}
)
# The boot clock is one for the whole machine: a proposal from later than now never happened.
_FUTURE_TOLERANCE_S: Final = 1.0


def malformed(proposal: Proposal, *, now: Instant) -> str:
    """Why this cannot be ordered in time and so cannot be decided at all; empty: it can (structs check no
    types).
    """
    origin = proposal.origin
    if not _is(origin, Instant) or not _is(origin.boot_ns, int) or not _is(origin.boot_id, str):
        return f"origin is no instant but a {type(origin).__name__}"
    if not _is(proposal.sequence, int) or not is_finite_number(proposal.sequence) or proposal.sequence < 0:
        return "sequence is not a whole number"
    if origin.boot_id == now.boot_id and -now.seconds_since(origin) > _FUTURE_TOLERANCE_S:
        return f"origin is {-now.seconds_since(origin):.1f} s in the future"
    if not _is(proposal.source, ProposalSource):
        return f"source is a {type(proposal.source).__name__}"
    return ""


def invalid_wish(proposal: Proposal) -> str:
    """Why the wish cannot be believed (SAF-3); empty: it can, or there is rightly none."""
    if proposal.failsafe is not None and not _is(proposal.failsafe, Reason):
        return f"failsafe is no reason but a {type(proposal.failsafe).__name__}"
    if not _is(proposal.mode, Mode):
        return f"mode is none but a {type(proposal.mode).__name__}"
    wish = proposal.wish_hz
    if wish is None:
        explained = proposal.failsafe is not None or proposal.held_stopped is True
        return "" if explained else "no wish and no reason for it"
    if not is_finite_number(wish):
        shown = f"{wish!r}" if _is(wish, float) else type(wish).__name__
        return f"wish {shown} is not a finite number"
    if wish < 0.0:
        return f"wish {wish:g} Hz is negative"
    if wish > ABSURD_HZ:
        return f"wish {wish:g} Hz is absurd (above {ABSURD_HZ:g} Hz)"
    return ""


def mode_of(proposal: Proposal) -> Mode:
    """Return the proposal's mode; what is none counts as AUTO (and the proposal as invalid)."""
    return proposal.mode if _is(proposal.mode, Mode) else Mode.AUTO


def cause_of(proposal: Proposal, *, invalid_ticks: int, scope_failure: Reason | None) -> Reason | None:
    """Why this pump belongs in failsafe now; None: nothing asks for it."""
    if scope_failure is not None:
        return scope_failure
    if invalid_ticks > INVALID_TICKS_MAX:
        return Reason.FAILSAFE_INVALID_PROPOSAL
    return proposal.failsafe if isinstance(proposal.failsafe, Reason) else None


def advance(
    failsafe: Failsafe,
    cause: Reason | None,
    *,
    mode: Mode,
    now: Instant,
    hold_s: float,
) -> Failsafe:
    """Enter at once, leave when the cause has been gone for `hold_s` (a plan's cause at once in MANUAL)."""
    if cause is not None:
        return Failsafe(reason=cause, since=failsafe.since or now)
    if failsafe.reason is None or (mode is Mode.MANUAL and failsafe.reason in PLAN_REASONS):
        return Failsafe()
    clear_since = failsafe.clear_since or now
    if now.seconds_since(clear_since) >= hold_s:
        return Failsafe()
    return Failsafe(reason=failsafe.reason, since=failsafe.since, clear_since=clear_since)


def _is(value: object, kind: type) -> bool:
    """Ask what the type checker believes to know: a struct's constructor checks no types."""
    return isinstance(value, kind)
