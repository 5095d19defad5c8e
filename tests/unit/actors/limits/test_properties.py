"""No sequence of proposals, whoever approves what, ever leaves the envelope; three judges agree on every version."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.limits import proposals as law
from actors.limits.changes import Direction, diff, inconsistencies, limits_of, malformed, values_of
from actors.limits.proposals import Wish, same_person
from actors.safety.limits import problems
from actors.vocabulary import ControlType, SafetyLimits
from actors.vocabulary.limits import LIMIT_KEYS, Envelope, ProposalState, Tighter
from storage.validation import in_force
from tests.unit.actors.limits.books import BOUNDS, NOON, VALUES, Store, asker, book, envelope

PEOPLE = ("anna", "ANNA", "bert", "carl")

_ABOUT: dict[str, float] = {**VALUES, "max_flow_m3h": 200.0, "min_flow_m3h": 20.0, "min_run_s": 30.0}
_ABOUT |= {"max_run_s": 7200.0, "min_rest_s": 60.0}


def _figures(name: str) -> st.SearchStrategy[Any]:
    """Draw mostly what might be allowed, at bounds and a little beside, and now and then what is absurd."""
    near = _ABOUT[name]
    if LIMIT_KEYS[name].whole:
        return st.sampled_from((9, 10, 11, 12, 8, 13, 0, -1))
    bound = BOUNDS.get(name) or near
    return st.one_of(
        st.floats(min(near, bound) * 0.97, max(near, bound) * 1.03),
        st.sampled_from((near, bound)),
        st.floats(near * 0.9, near * 1.1),
        st.floats(allow_nan=True, allow_infinity=True),
    )


def changes(count_max: int) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a change of a few keys."""
    keys = st.lists(st.sampled_from(tuple(LIMIT_KEYS)), min_size=1, max_size=count_max, unique=True)
    return keys.flatmap(lambda names: st.fixed_dictionaries({name: _figures(name) for name in names}))


PROPOSE = st.tuples(
    st.just("propose"), st.sampled_from(PEOPLE), changes(2), st.sampled_from((0, 0, 0, 0, 0, -1, 1))
)
CLOSE = st.tuples(
    st.sampled_from(("approve", "approve", "approve", "reject", "withdraw")),
    st.sampled_from(PEOPLE),
    st.sampled_from((0, 0, 0, 1, 2, 5)),
)
WAIT = st.tuples(st.just("wait"), st.floats(0.0, 2_000.0))
STEPS = st.lists(st.one_of(PROPOSE, CLOSE, CLOSE, PROPOSE, WAIT), min_size=1, max_size=60)
ENVELOPES = st.lists(st.sampled_from(tuple(BOUNDS)), max_size=3).map(
    lambda names: envelope(**dict.fromkeys(name for name in names if "speed" not in name))
)


def _closing(verb: str) -> Any:
    return {"approve": law.approve, "reject": law.reject, "withdraw": law.withdraw}[verb]


def outside(limits: SafetyLimits, bounds: Envelope) -> list[str]:
    """Say what is past its bound, without asking the law."""
    found = []
    for name, key in LIMIT_KEYS.items():
        value, bound = getattr(limits, name), bounds.bounds[name]
        if bound is None:
            continue
        if value is None or (value > bound if key.tighter is Tighter.LOWER else value < bound):
            found.append(name)
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, bounds=ENVELOPES)
def test_no_sequence_of_proposals_leaves_the_envelope(steps: list[tuple[Any, ...]], bounds: Envelope) -> None:
    """SAF-6: whatever is proposed and approved, in whatever order and by whom, stays inside; goal: safety.

    Method: random steps on a store in memory; after each, the version in force is judged from outside.
    """
    store, after_s, number = Store(book(envelope=bounds)), 0.0, 0
    for step in steps:
        before = store.book_now
        match step:
            case ("wait", seconds):
                after_s += seconds
            case ("propose", by, changed, off):
                number += 1
                wish = Wish(
                    proposal_id=f"id-{number}",
                    changes=changed,
                    base_version=before.base_version + off,
                    reason="r",
                    life_s=4_000.0,
                )
                who = asker(by, after_s=after_s, request_id=f"q{len(store.audits)}")
                store.apply(partial(law.propose, wish=wish, asker=who), wish.proposal_id)
                assert store.book_now == before, "a proposal changes nothing"
            case _:
                verb, by, place = step
                if not store.all:
                    continue
                chosen = list(store.all)[-1 - place % len(store.all)]
                who = asker(by, after_s=after_s, request_id=f"q{len(store.audits)}")
                store.apply(partial(_closing(verb), proposal_id=chosen, reason="r", asker=who), chosen)
        _judge(store, before_values=values_of(before.current))


def _judge(store: Store, *, before_values: dict[str, float]) -> None:
    current, bounds = store.book_now.current, store.book_now.envelope
    assert current is not None
    assert bounds is not None
    assert outside(current, bounds) == []
    assert problems(current) == (), "the kernel takes them"
    for change in diff(before_values, values_of(current)):
        assert (
            change.bound is not None
            or bounds.bounds[change.key] is not None
            or (change.direction is Direction.TIGHTER)
        ), "without a bound it may be tightened only"
    for proposal in store.all.values():
        if proposal.state is ProposalState.APPROVED:
            assert not same_person(proposal.proposed_by, proposal.closed_by or "")
    _applied_by_discovery(current, bounds)


def _applied_by_discovery(current: SafetyLimits, bounds: Envelope) -> None:
    """Discovery, which reads the same row from the table, applies exactly this version without a note."""
    row = {name: getattr(current, name) for name in LIMIT_KEYS} | {
        "version": current.version,
        "set_by": current.set_by,
        "approved_by": current.approved_by,
        "approved_at": current.approved_at,
    }
    envelope_row = {key.bound: bounds.bounds[name] for name, key in LIMIT_KEYS.items()}
    applied, notes = in_force("p1", ControlType.LEVEL_CONTROLLED, [row], envelope_row)
    assert (applied, notes) == (current, [])


@settings(max_examples=500, deadline=None)
@given(changed=changes(6))
def test_what_the_law_calls_consistent_every_other_judge_takes(changed: dict[str, Any]) -> None:
    """DAT-1, DAT-5: what is approved is never skipped by discovery nor refused by the kernel afterwards."""
    values = {**_ABOUT, **changed}
    if malformed(changed) or inconsistencies(values):
        return
    limits = law_limits(values)
    assert problems(limits) == ()
    wide = Envelope(bounds=dict.fromkeys(LIMIT_KEYS), commissioned_by="c", commissioned_at=NOON)
    _applied_by_discovery(limits, wide)


def law_limits(values: dict[str, float]) -> SafetyLimits:
    """Return a version that two persons made."""
    limits = limits_of(values, version=1)
    return msgspec.structs.replace(limits, set_by="a", approved_by="b", approved_at=NOON)
