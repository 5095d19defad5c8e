"""From proposal to version: second person, base version, states, audit; by example."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import msgspec
import pytest

from actors.limits import proposals as law
from actors.limits.proposals import TRANSITIONS, ProposalEvent, Wish, same_person, shown_state
from actors.vocabulary import InvalidValueError, RefusedError, Severity, UnknownSubjectError
from actors.vocabulary.limits import LimitProposal, Outcome, ProposalState
from tests.unit.actors.limits.books import NOON, VALUES, Store, asker, at, book, current, envelope


def wish(
    number: int = 1, *, base: int = 3, reason: str = "bearing", life_s: float = 3600.0, **changes: Any
) -> Wish:
    return Wish(
        proposal_id=f"id-{number}",
        changes=changes or {"hard_max_speed_hz": 45.0},
        base_version=base,
        reason=reason,
        life_s=life_s,
    )


def proposed(store: Store, given: Wish | None = None, *, by: str = "anna") -> LimitProposal:
    asked = given or wish()
    outcome = store.apply(lambda each: law.propose(each, asked, asker(by)), asked.proposal_id)
    assert outcome.refusal is None, outcome.refusal
    assert outcome.proposal is not None
    return outcome.proposal


def does(
    store: Store,
    what: str,
    proposal_id: str = "id-1",
    *,
    by: str = "bert",
    after_s: float = 1.0,
    request: str = "r1",
) -> Outcome:
    verb = {"approve": law.approve, "reject": law.reject, "withdraw": law.withdraw}[what]
    who = asker(by, after_s=after_s, request_id=request)
    return store.apply(lambda each: verb(each, proposal_id, "reviewed", who), proposal_id)


def test_only_an_open_proposal_moves_and_never_again() -> None:
    """SAF-6: the table of states: everything but PROPOSED is final."""
    legal = {pair for pair in product(ProposalState, ProposalEvent) if pair in TRANSITIONS}
    assert legal == {(ProposalState.PROPOSED, event) for event in ProposalEvent}
    assert set(TRANSITIONS.values()) == set(ProposalState) - {ProposalState.PROPOSED}


def test_a_second_person_brings_a_proposal_into_force() -> None:
    """SAF-6: who set it, who approved it, when, the changed keys only; the rest stays as it was."""
    store = Store()
    opened = proposed(store, wish(hard_max_speed_hz=45, level_min_m=0.7))
    assert opened.changes == {"hard_max_speed_hz": 45.0}, "what does not differ is left out"
    assert store.book_now.base_version == 3, "a proposal changes nothing"
    outcome = does(store, "approve")
    assert outcome.new_version is not None
    assert outcome.new_version.values == {**VALUES, "hard_max_speed_hz": 45.0}
    assert (outcome.new_version.version, outcome.new_version.set_by, outcome.new_version.approved_by) == (
        4, "anna", "bert",
    )  # fmt: skip
    assert (outcome.new_version.set_at, outcome.new_version.approved_at) == (NOON, at(1))
    closed = store.all["id-1"]
    assert (closed.state, closed.closed_by, closed.version) == (ProposalState.APPROVED, "bert", 4)


@pytest.mark.parametrize("name", ["anna", "ANNA", " Anna ", "ａｎｎａ"])
def test_nobody_approves_their_own_proposal(name: str) -> None:
    """SAF-6: names are compared in normalised form, and the attempt is on record."""
    store = Store()
    proposed(store, by="Anna")
    outcome = does(store, "approve", by=name)
    assert isinstance(outcome.refusal, RefusedError)
    assert "second person" in str(outcome.refusal)
    assert store.all["id-1"].state is ProposalState.PROPOSED
    assert store.book_now.base_version == 3
    assert store.audits[-1].event_type == "LIMITS_APPROVED"
    assert store.audits[-1].outcome.startswith("refused: ")


def test_names_are_one_person_whatever_their_form() -> None:
    """SAF-6: case, width, spacing, composition."""
    assert same_person("Jürgen  Groß", "ju\u0308rgen gross")
    assert same_person("Anna\u00a0Lind", "anna lind")
    assert same_person("ℍanna", "hanna")
    assert not same_person("anna", "hanna")
    for seat in ("local:anna", "local:local:anna", "LOCAL: anna", "ｌｏｃａｌ：anna"):
        assert same_person(seat, "Anna")


@pytest.mark.parametrize(("base", "told"), [(2, "version 3"), (4, "version 3"), (0, "version 3")])
def test_a_proposal_rests_on_what_is_in_force(base: int, told: str) -> None:
    """SAF-6: whoever saw other limits than those in force is told so (409)."""
    outcome = law.propose(book(), wish(base=base), asker("anna"))
    assert isinstance(outcome.refusal, RefusedError)
    assert told in str(outcome.refusal)
    assert outcome.new_proposal is None


def test_of_two_proposals_on_one_base_one_wins() -> None:
    """SAF-6: optimistic concurrency: the other is superseded in the same moment, and says by what."""
    store = Store()
    proposed(store, wish(1))
    proposed(store, wish(2, max_rate_hz_per_s=1.0), by="dora")
    assert does(store, "approve", "id-1").refusal is None
    loser = store.all["id-2"]
    assert (loser.state, loser.closed_by, loser.close_reason) == (
        ProposalState.SUPERSEDED, "calejo", "version 4 was approved",
    )  # fmt: skip
    outcome = does(store, "approve", "id-2", request="r2")
    assert isinstance(outcome.refusal, RefusedError)
    assert "SUPERSEDED" in str(outcome.refusal)
    assert store.book_now.base_version == 4


def test_a_version_written_with_sql_supersedes_too() -> None:
    """SAF-6, DAT-5: whoever approves, approves what was weighed, or nothing."""
    store = Store()
    proposed(store)
    store.book_now = msgspec.structs.replace(
        store.book_now, current=current(4, max_rate_hz_per_s=1.0), version_max=4
    )
    outcome = does(store, "approve")
    assert isinstance(outcome.refusal, RefusedError)
    assert store.all["id-1"].state is ProposalState.SUPERSEDED
    assert outcome.new_version is None


def test_an_envelope_that_was_narrowed_meanwhile_refuses() -> None:
    """SAF-6: judged again at approval, not only when proposed."""
    store = Store()
    proposed(store, wish(hard_max_speed_hz=51.5))
    store.book_now = msgspec.structs.replace(store.book_now, envelope=envelope(hard_max_speed_hz=51.0))
    outcome = does(store, "approve")
    assert isinstance(outcome.refusal, RefusedError)
    assert "51.5 Hz, expected at most 51 Hz" in str(outcome.refusal)
    assert store.book_now.base_version == 3


def test_a_widened_limit_is_refused_and_on_record() -> None:
    """SAF-6: past the envelope nothing is even proposed."""
    store = Store()
    asked = wish(hard_max_speed_hz=53.0)
    outcome = store.apply(lambda each: law.propose(each, asked, asker("anna")), asked.proposal_id)
    assert isinstance(outcome.refusal, InvalidValueError)
    assert "hard_max_speed_hz: 53 Hz, expected at most 52 Hz" in str(outcome.refusal)
    assert store.all == {}
    (audit,) = store.audits
    assert (audit.event_type, audit.actor, audit.object_id) == ("LIMITS_PROPOSED", "anna", "PUMP:p1")
    assert audit.outcome.startswith("refused: hard_max_speed_hz")
    assert audit.after == {"changes": {"hard_max_speed_hz": 53.0}}


def test_a_proposal_expires() -> None:
    """SAF-6: nobody approves what was weighed long ago; its end is its expiry, whenever it is noticed."""
    store = Store()
    proposed(store, wish(life_s=60.0))
    assert shown_state(store.all["id-1"], now=at(59.9)) is ProposalState.PROPOSED
    assert shown_state(store.all["id-1"], now=at(60.0)) is ProposalState.EXPIRED
    outcome = does(store, "approve", after_s=60.0)
    assert isinstance(outcome.refusal, RefusedError)
    assert store.all["id-1"].state is ProposalState.EXPIRED
    assert store.all["id-1"].closed_at == at(60.0)
    assert [each.event_type for each in store.audits] == [
        "LIMITS_PROPOSED", "LIMITS_EXPIRED", "LIMITS_APPROVED",
    ]  # fmt: skip


@pytest.mark.parametrize("life_s", [0.0, 59.0, -1.0, float("nan"), float("inf"), 91 * 86_400.0])
def test_a_proposal_lives_a_minute_to_ninety_days(life_s: float) -> None:
    """SAF-6: everything is bounded."""
    outcome = law.propose(book(), wish(life_s=life_s), asker("anna"))
    assert isinstance(outcome.refusal, InvalidValueError)


def test_others_reject_and_the_author_withdraws() -> None:
    """SAF-6: both end it; neither is the other's to do."""
    store = Store()
    proposed(store)
    assert isinstance(does(store, "withdraw", by="bert").refusal, RefusedError)
    assert isinstance(does(store, "reject", by="Anna", request="r2").refusal, RefusedError)
    assert does(store, "withdraw", by="ANNA").refusal is None
    assert store.all["id-1"].state is ProposalState.WITHDRAWN
    proposed(store, wish(2))
    assert does(store, "reject", "id-2", by="bert").refusal is None
    assert store.all["id-2"].state is ProposalState.REJECTED
    assert store.book_now.base_version == 3


@pytest.mark.parametrize("what", ["approve", "reject", "withdraw"])
def test_what_was_done_is_not_done_twice(what: str) -> None:
    """SAF-6: the same person asking again is told the same; another is refused, and nothing is written."""
    store = Store()
    proposed(store)
    by = "anna" if what == "withdraw" else "bert"
    first = does(store, what, by=by)
    count = len(store.audits)
    again = does(store, what, by=by.upper(), after_s=9.0)
    assert (again.refusal, again.proposal, again.closed, again.new_version) == (
        None,
        first.proposal,
        (),
        None,
    )
    assert len(store.audits) == count
    for other, who in (("approve", "carl"), ("reject", "carl"), ("withdraw", "carl")):
        refused = does(store, other, by=who, request=f"{other}-{who}")
        assert isinstance(refused.refusal, RefusedError)
        assert refused.new_version is None


def test_the_same_proposal_again_is_the_same_one() -> None:
    """SAF-6: an answer that got lost is asked for again; another content under that id is refused."""
    store = Store()
    opened = proposed(store)
    assert proposed(store) == opened
    assert len(store.audits) == 1
    for other in (wish(reason="else"), wish(hard_max_speed_hz=44.0), wish(base=2)):
        outcome = store.apply(partial(law.propose, wish=other, asker=asker("anna")), "id-1")
        assert isinstance(outcome.refusal, RefusedError)
    foreign = law.propose(book(taken_by="p9"), wish(), asker("anna"))
    assert "p9" in str(foreign.refusal)


def test_a_change_must_change_something() -> None:
    """SAF-6: the same values again are no proposal."""
    outcome = law.propose(book(), wish(hard_max_speed_hz=50.0, max_starts_per_hour=10), asker("anna"))
    assert "nothing differs" in str(outcome.refusal)


def test_open_proposals_are_bounded() -> None:
    """SAF-6: twenty wait at most."""
    store = Store()
    for number in range(law.OPEN_MAX):
        proposed(store, wish(number, hard_max_speed_hz=45.0 - number / 10))
    over = wish(99)
    outcome = store.apply(lambda each: law.propose(each, over, asker("anna")), over.proposal_id)
    assert isinstance(outcome.refusal, RefusedError)
    assert does(store, "reject", "id-0").refusal is None
    proposed(store, wish(98, hard_max_speed_hz=30.0))


def test_the_first_limits_of_a_commissioned_pump_are_proposed_whole() -> None:
    """SAF-6, DAT-5: base 0; every bounded limit must be there, inside the envelope."""
    store = Store(book(current=None, version_max=0))
    partial = wish(base=0, hard_max_speed_hz=45.0)
    outcome = store.apply(lambda each: law.propose(each, partial, asker("anna")), "id-1")
    assert "hard_min_speed_hz: not set" in str(outcome.refusal)
    proposed(store, msgspec.structs.replace(wish(2, base=0), changes=dict(VALUES)))
    assert does(store, "approve", "id-2").refusal is None
    assert store.book_now.base_version == 1


def test_a_number_is_never_used_twice() -> None:
    """SAF-6: a version that somebody deleted keeps its number."""
    store = Store(book(version_max=9))
    proposed(store)
    outcome = does(store, "approve")
    assert outcome.new_version is not None
    assert outcome.new_version.version == 10


def test_unknown_proposals_are_unknown() -> None:
    """API-1: 404, not 409."""
    for verb in (law.approve, law.reject, law.withdraw):
        with pytest.raises(UnknownSubjectError):
            verb(book(), "id-9", "why", asker())


def test_every_step_is_on_record_with_what_was_and_what_is() -> None:
    """AUD-2, SAF-6: event, person, address, changed keys before and after; a widened limit counts more."""
    store = Store()
    proposed(store)
    does(store, "approve")
    proposed(store, wish(2, base=4, hard_max_speed_hz=48.0))
    first, second, third = store.audits
    assert [each.event_type for each in store.audits] == [
        "LIMITS_PROPOSED",
        "LIMITS_APPROVED",
        "LIMITS_PROPOSED",
    ]
    assert first.before == {"version": 3, "limits": {"hard_max_speed_hz": 50.0}}
    assert first.after == {
        "state": "PROPOSED", "base_version": 3, "changes": {"hard_max_speed_hz": 45.0}, "reason": "bearing",
    }  # fmt: skip
    assert second.after is not None
    assert (second.actor, second.after["version"], second.after["reason"]) == ("bert", 4, "reviewed")
    assert (first.severity, second.severity, third.severity) == (
        Severity.MEDIUM,
        Severity.MEDIUM,
        Severity.HIGH,
    )
    assert {each.correlation_id for each in (first, second)} == {"id-1"}
    assert first.source_address == "127.0.0.1:1"


def test_a_sweep_closes_what_is_over_and_nothing_else() -> None:
    """SAF-6: expired and outdated proposals are written down; an open one waits on."""
    store = Store()
    proposed(store, wish(1, life_s=60.0))
    proposed(store, wish(2, life_s=7200.0))
    store.apply(lambda each: law.sweep(each, at(60.0)), "")
    assert [each.state for each in store.all.values()] == [ProposalState.EXPIRED, ProposalState.PROPOSED]
    assert [each.event_type for each in store.audits][2:] == ["LIMITS_EXPIRED"]
    assert law.sweep(store._book(), at(61.0)) == Outcome()
