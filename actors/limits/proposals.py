"""From proposal to version: who may do what, when, on what base; pure (SAF-6).

Every decision first closes what time or a newer version has closed, then does what was asked or refuses it. What is
refused for safety's sake (a widened limit, one's own approval, an outdated base) is written to the audit log as well.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Any, Final

import msgspec

from actors.limits.changes import Direction, diff, forbidden, malformed, values_of
from actors.vocabulary import CallerError, InvalidValueError, RefusedError, Severity, UnknownSubjectError
from actors.vocabulary.limits import LimitProposal, LimitsBook, NewVersion, Outcome, ProposalState
from actors.vocabulary.records import AuditRecord
from actors.vocabulary.users import without_local

LIFE_S: Final = 7 * 86_400.0
LIFE_S_MIN: Final = 60.0
LIFE_S_MAX: Final = 90 * 86_400.0
assert LIFE_S_MIN <= LIFE_S <= LIFE_S_MAX
OPEN_MAX: Final = 20
"""Open proposals of one pump: more than people can weigh against each other."""

CALEJO: Final = "calejo"


@unique
class ProposalEvent(StrEnum):
    """What can happen to a proposal."""

    APPROVE = "APPROVE"
    REJECT = "REJECT"
    WITHDRAW = "WITHDRAW"
    SUPERSEDE = "SUPERSEDE"
    EXPIRE = "EXPIRE"


TRANSITIONS: Final[Mapping[tuple[ProposalState, ProposalEvent], ProposalState]] = {
    (ProposalState.PROPOSED, ProposalEvent.APPROVE): ProposalState.APPROVED,
    (ProposalState.PROPOSED, ProposalEvent.REJECT): ProposalState.REJECTED,
    (ProposalState.PROPOSED, ProposalEvent.WITHDRAW): ProposalState.WITHDRAWN,
    # Another version came into force first: what was weighed is no longer what is there.
    (ProposalState.PROPOSED, ProposalEvent.SUPERSEDE): ProposalState.SUPERSEDED,
    (ProposalState.PROPOSED, ProposalEvent.EXPIRE): ProposalState.EXPIRED,
}
"""What is absent is illegal."""


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, from where, when. `request_id` names this very request in the audit log if it is refused."""

    by: str
    address: str
    at: datetime
    request_id: str


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A change that somebody proposes. `base_version`: what its author saw in force (0: nothing)."""

    proposal_id: str
    changes: dict[str, Any]
    base_version: int
    reason: str
    life_s: float = LIFE_S


def same_person(one: str, other: str) -> bool:
    """Whether two names may be one person: case, width, spacing, composition and where one sat tell nobody apart."""
    return _normal(one) == _normal(other)


def _normal(name: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return without_local(" ".join(folded.split()))


def shown_state(proposal: LimitProposal, *, now: datetime, base_version: int | None = None) -> ProposalState:
    """Return where a proposal stands now, also if nobody has written it down since."""
    event = _overtaken(proposal, now=now, base_version=base_version)
    return proposal.state if event is None else TRANSITIONS[proposal.state, event]


def propose(book: LimitsBook, wish: Wish, asker: Asker) -> Outcome:
    """Open a proposal; the same id with the same content again is the same proposal."""
    book, closed, audits = _swept(book, asker.at)
    known = book.proposal(wish.proposal_id)
    if known is not None and _is_same(known, wish, asker):
        return Outcome(proposal=known, closed=closed, audits=audits)
    if known is not None or book.taken_by:
        of_pump = book.taken_by or book.pump_id
        taken = RefusedError(f"proposal_id: {wish.proposal_id} is another proposal of pump {of_pump}")
        return Outcome(closed=closed, audits=audits, refusal=taken)
    refusal = _refusal_of_wish(book, wish)
    if refusal is not None:
        audit = _audit_of_refusal(book, "LIMITS_PROPOSED", asker, refusal, wish.changes, wish.proposal_id)
        return Outcome(closed=closed, audits=(*audits, audit), refusal=refusal)
    in_force = values_of(book.current)
    proposal = LimitProposal(
        proposal_id=wish.proposal_id,
        pump_id=book.pump_id,
        base_version=wish.base_version,
        changes={name: float(value) for name, value in wish.changes.items() if in_force.get(name) != value},
        reason=wish.reason,
        proposed_by=asker.by,
        proposed_at=asker.at,
        expires_at=asker.at + timedelta(seconds=wish.life_s),
        source_address=asker.address,
    )
    audit = _audit(book, proposal, "LIMITS_PROPOSED", by=asker.by, at=asker.at, address=asker.address)
    return Outcome(proposal=proposal, new_proposal=proposal, closed=closed, audits=(*audits, audit))


def _refusal_of_wish(book: LimitsBook, wish: Wish) -> CallerError | None:
    if complaints := malformed(wish.changes):
        return InvalidValueError("; ".join(complaints))
    if not LIFE_S_MIN <= wish.life_s <= LIFE_S_MAX:
        expected = f"{LIFE_S_MIN:g} to {LIFE_S_MAX:g} s"
        return InvalidValueError(f"expires_after_s: {wish.life_s:g}, expected {expected}")
    if wish.base_version != book.base_version:
        return RefusedError(_outdated(book, wish.base_version))
    if sum(each.state is ProposalState.PROPOSED for each in book.proposals) >= OPEN_MAX:
        return RefusedError(
            f"pump {book.pump_id}: {OPEN_MAX} proposals are open; approve, reject or withdraw some first"
        )
    in_force = values_of(book.current)
    values = {**in_force, **wish.changes}
    if values == in_force:
        return InvalidValueError(
            f"changes: nothing differs from version {book.base_version}, expected a change"
        )
    complaints = forbidden(book, values)
    return InvalidValueError("; ".join(complaints)) if complaints else None


def approve(book: LimitsBook, proposal_id: str, reason: str, asker: Asker) -> Outcome:
    """Bring a proposal into force as the next version, by another person than its author.

    Judged anew against what holds now. Every other open proposal of the pump is superseded.
    """
    book, closed, audits = _swept(book, asker.at)
    proposal, refusal = _open(book, proposal_id, ProposalEvent.APPROVE, asker)
    if refusal is None and proposal.state is ProposalState.APPROVED:
        return Outcome(proposal=proposal, closed=closed, audits=audits)
    if refusal is None and same_person(asker.by, proposal.proposed_by):
        refusal = RefusedError(
            f"by: {asker.by!r} proposed it, expected a second person: nobody approves their own change"
        )
    values = {**values_of(book.current), **proposal.changes}
    if refusal is None and (complaints := forbidden(book, values)):
        # It was allowed when it was proposed: the envelope has changed since.
        refusal = RefusedError("; ".join(complaints))
    if refusal is not None:
        audit = _audit_of_refusal(book, "LIMITS_APPROVED", asker, refusal, proposal.changes, proposal_id)
        return Outcome(proposal=proposal, closed=closed, audits=(*audits, audit), refusal=refusal)
    version = book.version_max + 1
    approved = _closed(proposal, ProposalEvent.APPROVE, by=asker.by, at=asker.at, reason=reason)
    approved = msgspec.structs.replace(approved, version=version)
    others = [
        _closed(
            each, ProposalEvent.SUPERSEDE, by=CALEJO, at=asker.at, reason=f"version {version} was approved"
        )
        for each in book.proposals
        if each.state is ProposalState.PROPOSED and each.proposal_id != proposal_id
    ]
    new = NewVersion(
        pump_id=book.pump_id,
        version=version,
        values=values,
        set_by=proposal.proposed_by,
        set_at=proposal.proposed_at,
        approved_by=asker.by,
        approved_at=asker.at,
    )
    audit = _audit(book, approved, "LIMITS_APPROVED", by=asker.by, at=asker.at, address=asker.address)
    told = [_audit(book, each, "LIMITS_SUPERSEDED", by=CALEJO, at=asker.at) for each in others]
    return Outcome(
        proposal=approved,
        closed=(*closed, approved, *others),
        new_version=new,
        audits=(*audits, audit, *told),
    )


def reject(book: LimitsBook, proposal_id: str, reason: str, asker: Asker) -> Outcome:
    """Close a proposal without bringing it into force; its own author withdraws it instead."""
    return _close(book, proposal_id, ProposalEvent.REJECT, reason, asker)


def withdraw(book: LimitsBook, proposal_id: str, reason: str, asker: Asker) -> Outcome:
    """Take one's own proposal back; another person rejects it instead."""
    return _close(book, proposal_id, ProposalEvent.WITHDRAW, reason, asker)


def sweep(book: LimitsBook, now: datetime) -> Outcome:
    """Write down what time or a newer version has closed, without anybody asking."""
    _, closed, audits = _swept(book, now)
    return Outcome(closed=closed, audits=audits)


def _close(book: LimitsBook, proposal_id: str, event: ProposalEvent, reason: str, asker: Asker) -> Outcome:
    book, closed, audits = _swept(book, asker.at)
    proposal, refusal = _open(book, proposal_id, event, asker)
    if refusal is None and proposal.state is not ProposalState.PROPOSED:
        return Outcome(proposal=proposal, closed=closed, audits=audits)
    own = same_person(asker.by, proposal.proposed_by)
    if refusal is None and event is ProposalEvent.WITHDRAW and not own:
        refusal = RefusedError(
            f"by: {asker.by!r}, expected {proposal.proposed_by!r}, who proposed it; others reject it"
        )
    if refusal is None and event is ProposalEvent.REJECT and own:
        refusal = RefusedError(f"by: {asker.by!r} proposed it, expected another person; withdraw it instead")
    kind = f"LIMITS_{TRANSITIONS[ProposalState.PROPOSED, event]}"
    if refusal is not None:
        audit = _audit_of_refusal(book, kind, asker, refusal, proposal.changes, proposal_id)
        return Outcome(proposal=proposal, closed=closed, audits=(*audits, audit), refusal=refusal)
    done = _closed(proposal, event, by=asker.by, at=asker.at, reason=reason)
    audit = _audit(book, done, kind, by=asker.by, at=asker.at, address=asker.address)
    return Outcome(proposal=done, closed=(*closed, done), audits=(*audits, audit))


def _open(
    book: LimitsBook, proposal_id: str, event: ProposalEvent, asker: Asker
) -> tuple[LimitProposal, RefusedError | None]:
    """Return the proposal, and why `event` cannot happen to it. What the same person did already is no refusal.

    Raises:
        UnknownSubjectError: the pump has no such proposal.

    """
    proposal = book.proposal(proposal_id)
    if proposal is None:
        raise UnknownSubjectError(f"proposal {proposal_id!r} of pump {book.pump_id} is not known")
    if (proposal.state, event) in TRANSITIONS:
        return proposal, None
    wanted = TRANSITIONS[ProposalState.PROPOSED, event]
    if proposal.state is wanted and same_person(proposal.closed_by or "", asker.by):
        return proposal, None
    why = f"proposal {proposal_id} is {proposal.state} by {proposal.closed_by}: {proposal.close_reason}"
    return proposal, RefusedError(f"{why}; expected one that is {ProposalState.PROPOSED}")


def _swept(
    book: LimitsBook, now: datetime
) -> tuple[LimitsBook, tuple[LimitProposal, ...], tuple[AuditRecord, ...]]:
    """Close what time or a newer version has closed; return the book as it is then."""
    closed: dict[str, LimitProposal] = {}
    for proposal in book.proposals:
        event = _overtaken(proposal, now=now, base_version=book.base_version)
        if event is ProposalEvent.EXPIRE:
            closed[proposal.proposal_id] = _closed(
                proposal, event, by=CALEJO, at=proposal.expires_at, reason="nobody approved it in time"
            )
        elif event is not None:
            why = _outdated(book, proposal.base_version)
            closed[proposal.proposal_id] = _closed(proposal, event, by=CALEJO, at=now, reason=why)
    audits = tuple(_audit(book, each, f"LIMITS_{each.state}", by=CALEJO, at=now) for each in closed.values())
    proposals = tuple(closed.get(each.proposal_id, each) for each in book.proposals)
    return msgspec.structs.replace(book, proposals=proposals), tuple(closed.values()), audits


def _overtaken(proposal: LimitProposal, *, now: datetime, base_version: int | None) -> ProposalEvent | None:
    if proposal.state is not ProposalState.PROPOSED:
        return None
    if now >= proposal.expires_at:
        return ProposalEvent.EXPIRE
    outdated = base_version is not None and proposal.base_version != base_version
    return ProposalEvent.SUPERSEDE if outdated else None


def _closed(
    proposal: LimitProposal, event: ProposalEvent, *, by: str, at: datetime, reason: str
) -> LimitProposal:
    return msgspec.structs.replace(
        proposal,
        state=TRANSITIONS[proposal.state, event],
        closed_by=by,
        closed_at=at,
        close_reason=reason,
    )


def _outdated(book: LimitsBook, base_version: int) -> str:
    return (
        f"base_version: {base_version}, but version {book.base_version} of pump {book.pump_id} is in force;"
        " expected a proposal that rests on it"
    )


def _is_same(known: LimitProposal, wish: Wish, asker: Asker) -> bool:
    """Whether a repeated request is the one that opened this proposal."""
    return (
        known.base_version == wish.base_version
        and same_person(known.proposed_by, asker.by)
        and known.reason == wish.reason
        # Keys that changed nothing were left out.
        and all(wish.changes.get(name) == value for name, value in known.changes.items())
    )


# ------------------------------------------------------------------ audit


def _audit(
    book: LimitsBook, proposal: LimitProposal, kind: str, *, by: str, at: datetime, address: str = ""
) -> AuditRecord:
    in_force = values_of(book.current)
    changes = diff(in_force, {**in_force, **proposal.changes})
    widens = any(change.direction is Direction.WIDER for change in changes)
    after: dict[str, Any] = {"state": proposal.state.value, "base_version": proposal.base_version}
    after |= {"changes": dict(proposal.changes), "reason": proposal.close_reason or proposal.reason}
    if proposal.version is not None:
        after["version"] = proposal.version
    return AuditRecord(
        record_id=f"{proposal.proposal_id}:{proposal.state.lower()}",
        at=at,
        event_type=kind,
        actor=by,
        source_address=address,
        object_id=f"PUMP:{book.pump_id}",
        outcome="success",
        severity=Severity.HIGH if widens else Severity.MEDIUM,
        before={
            "version": book.base_version,
            "limits": {name: in_force.get(name) for name in proposal.changes},
        },
        after=after,
        correlation_id=proposal.proposal_id,
    )


def _audit_of_refusal(
    book: LimitsBook,
    kind: str,
    asker: Asker,
    refusal: CallerError,
    changes: Mapping[str, Any],
    proposal_id: str,
) -> AuditRecord:
    return AuditRecord(
        record_id=f"{asker.request_id}:refused",
        at=asker.at,
        event_type=kind,
        actor=asker.by,
        source_address=asker.address,
        object_id=f"PUMP:{book.pump_id}",
        outcome=f"refused: {refusal}"[:_OUTCOME_MAX],
        severity=Severity.MEDIUM,
        before={"version": book.base_version},
        after={"changes": {str(name)[:_NAME_MAX]: changes[name] for name in list(changes)[:_KEYS_MAX]}},
        correlation_id=proposal_id,
    )


_OUTCOME_MAX: Final = 500
_NAME_MAX: Final = 60
_KEYS_MAX: Final = 20
