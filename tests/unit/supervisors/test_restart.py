"""The law of supervision as timelines and properties."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.start import WorkerStart
from actors.vocabulary import Address, InvalidValueError, Role, Settings
from supervisors import restart
from supervisors.restart import (
    TRANSITIONS,
    Adopted,
    Begin,
    ChildState,
    Due,
    Effect,
    Ended,
    Escalate,
    Event,
    Hung,
    Kill,
    Quarantine,
    Reshaped,
    Retry,
    Start,
    Started,
    StartFailed,
    Stop,
    StopAll,
    TreeState,
    backoff_s,
    decide,
    retry_refusal,
)
from supervisors.spec import Backoff, ChildSpec, GroupSpec, Intensity, Restart, Strategy, leaves, validate

_SETTINGS = Settings(data_dir="/nowhere")
A, B, C = Address("/g/a"), Address("/g/b"), Address("/g/c")


def child(address: Address, **options: object) -> ChildSpec:
    spec = ChildSpec(start=WorkerStart(role=Role.PUMP, address=address, settings=_SETTINGS))
    return msgspec.structs.replace(spec, **options)


def group(*children: ChildSpec | GroupSpec, **options: object) -> GroupSpec:
    return msgspec.structs.replace(GroupSpec(address=Address("/g"), children=children), **options)


class Play:
    """Feeds events, answers every start at once unless told otherwise, and keeps what was ordered."""

    def __init__(self, tree: GroupSpec) -> None:
        validate(tree)
        self.tree = tree
        self.state = TreeState()
        self.now_s = 1000.0

    def step(self, event: Event) -> list[Effect]:
        self.state, effects = decide(self.tree, self.state, event, now_s=self.now_s, chance=0.0)
        return list(effects)

    def run(self, event: Event) -> list[str]:
        """Feed `event`, let back-offs pass and starts succeed; return all effects in short."""
        told: list[str] = []
        pending = self.step(event)
        while pending:
            effect = pending.pop(0)
            told.append(short(effect))
            if isinstance(effect, Start):
                self.now_s += effect.after_s
                if effect.after_s:
                    pending += self.step(Due(address=effect.address, incarnation=effect.incarnation))
                else:
                    pending += self.step(Started(address=effect.address, incarnation=effect.incarnation))
        return told

    def kill(self, address: Address) -> list[str]:
        incarnation = self.state.children[address].incarnation
        return self.run(Ended(address=address, incarnation=incarnation, why="killed"))

    def states(self) -> dict[Address, str]:
        return {address: each.state.value for address, each in self.state.children.items()}


def short(effect: Effect) -> str:
    match effect:
        case Start(address=address, incarnation=incarnation, after_s=after_s):
            return f"start {address}#{incarnation}" + (f" after {after_s:.2f} s" if after_s else "")
        case Stop(address=address):
            return f"stop {address}"
        case Kill(address=address, incarnation=incarnation):
            return f"kill {address}#{incarnation}"
        case Quarantine(address=address):
            return f"quarantine {address}"
        case Escalate():
            return "escalate"


def test_one_child_killed_again_and_again() -> None:
    """SUP-2, SUP-5: at once, then back-off, then quarantine; a retry starts with a clean record."""
    play = Play(group(child(A), child(B)))
    assert play.run(Begin()) == ["start /g/a#1", "start /g/b#1"]
    assert play.kill(A) == ["start /g/a#2"]
    assert play.kill(A) == ["start /g/a#3 after 0.10 s", "start /g/a#3"]
    assert play.kill(A) == ["start /g/a#4 after 0.20 s", "start /g/a#4"]
    assert play.kill(A) == ["start /g/a#5 after 0.40 s", "start /g/a#5"]
    assert play.kill(A) == ["start /g/a#6 after 0.80 s", "start /g/a#6"]
    assert play.kill(A) == ["quarantine /g/a"]
    assert play.states() == {A: "quarantined", B: "running"}
    assert play.run(Retry(address=A)) == ["start /g/a#7"]
    assert play.kill(A) == ["start /g/a#8"], "at once again"


def test_how_long_it_was_away_is_known_until_the_next_time() -> None:
    """SUP-7: from noticing its end to its first answer, failed starts and quarantine included."""
    play = Play(group(child(A, intensity=Intensity(restarts_max=1, period_s=60.0)), child(B)))
    told: list[tuple[float | None, float | None]] = []

    def note() -> None:
        held = play.state.children[A]
        told.append((held.gone_at_s, held.away_s))

    play.run(Begin())
    note()
    for event, after_s in (
        (Ended(address=A, incarnation=1, why="killed"), 0.12),
        (StartFailed(address=A, incarnation=2, why="no memory"), 0.30),
        (Due(address=A, incarnation=3), 0.5),
        (Started(address=A, incarnation=3), 10.0),
        (Hung(address=A, incarnation=3, why="silent"), 3.0),
        (Retry(address=A), 0.25),
        (Started(address=A, incarnation=4), 0.0),
    ):
        play.step(event)
        note()
        play.now_s += after_s
    assert told == [
        (None, None),
        (1000.0, None),
        (1000.0, None),
        (1000.0, None),
        (1000.0, pytest.approx(0.92)),
        (pytest.approx(1010.92), None),
        (pytest.approx(1010.92), None),
        (pytest.approx(1010.92), pytest.approx(3.25)),
    ]
    assert play.state.children[B].gone_at_s is None


def test_a_neighbour_taken_down_is_away_too() -> None:
    """SUP-2, SUP-7: what goes down with another was away as well."""
    play = Play(group(child(A), child(B), strategy=Strategy.ONE_FOR_ALL))
    play.run(Begin())
    play.now_s += 5.0
    play.kill(A)
    for address in (A, B):
        assert (play.state.children[address].gone_at_s, play.state.children[address].away_s) == (1005.0, 0.0)


def test_failures_long_ago_do_not_count() -> None:
    """SUP-2: intensity is a window, not a lifetime."""
    play = Play(group(child(A)))
    play.run(Begin())
    for incarnation in range(2, 40):
        assert play.kill(A) == [f"start /g/a#{incarnation}"]
        play.now_s += 60.1
    assert play.state.children[A].restarts == 38


def test_one_for_all_and_rest_for_one_take_their_neighbours_down_in_reverse() -> None:
    """SUP-2: strategies; the others stop in reverse order and all start in order."""
    play = Play(group(child(A), child(B), child(C), strategy=Strategy.ONE_FOR_ALL))
    play.run(Begin())
    assert play.kill(B) == ["stop /g/c", "stop /g/a", "start /g/b#2", "start /g/a#2", "start /g/c#2"]
    play = Play(group(child(A), child(B), child(C), strategy=Strategy.REST_FOR_ONE))
    play.run(Begin())
    assert play.kill(B) == ["stop /g/c", "start /g/b#2", "start /g/c#2"]


@pytest.mark.parametrize(
    ("restart", "why", "again"),
    [
        (Restart.PERMANENT, "", True),
        (Restart.PERMANENT, "killed", True),
        (Restart.TRANSIENT, "", False),
        (Restart.TRANSIENT, "killed", True),
        (Restart.TEMPORARY, "", False),
        (Restart.TEMPORARY, "killed", False),
    ],
)
def test_who_is_started_again(restart: Restart, why: str, again: bool) -> None:
    """SUP-2: permanent always, transient after a failure, temporary never."""
    play = Play(group(child(A, restart=restart)))
    play.run(Begin())
    assert play.run(Ended(address=A, incarnation=1, why=why)) == (["start /g/a#2"] if again else [])
    assert play.states()[A] == ("running" if again else "stopped")


def test_a_hang_is_killed_and_old_news_of_it_changes_nothing() -> None:
    """SUP-3: the end of the killed incarnation is not a second failure."""
    play = Play(group(child(A)))
    play.run(Begin())
    assert play.run(Hung(address=A, incarnation=1, why="silent")) == ["kill /g/a#1", "start /g/a#2"]
    assert play.run(Ended(address=A, incarnation=1, why="killed")) == []
    assert play.state.children[A].failures_s == (1000.0,)


def test_failed_starts_back_off_to_30_s() -> None:
    """SUP-2: 100 ms doubling to 30 s, and for ever where the spec says so."""
    play = Play(group(child(A, start_failures_max=None)))
    play.step(Begin())
    waits: list[float] = []
    for incarnation in range(1, 15):
        (effect,) = play.step(StartFailed(address=A, incarnation=incarnation, why="no port"))
        assert isinstance(effect, Start)
        waits.append(effect.after_s)
        play.step(Due(address=A, incarnation=effect.incarnation))
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 30.0


def test_failed_starts_end_in_quarantine_where_the_spec_bounds_them() -> None:
    """SUP-5: what cannot start is quarantined."""
    play = Play(group(child(A, start_failures_max=2)))
    play.step(Begin())
    for incarnation in (1, 2):
        play.step(StartFailed(address=A, incarnation=incarnation, why="no"))
        play.step(Due(address=A, incarnation=incarnation + 1))
    assert [short(e) for e in play.step(StartFailed(address=A, incarnation=3, why="no"))] == [
        "quarantine /g/a"
    ]


def test_a_child_that_escalates_restarts_its_group_and_then_its_parent() -> None:
    """SUP-2: over its intensity an escalating child takes its group down; over the group's, the parent's."""
    once = Intensity(restarts_max=1, period_s=60.0)
    inner = GroupSpec(
        address=Address("/g/i"),
        children=(child(A, escalate=True, intensity=once), child(B)),
        intensity=once,
        escalate=True,
    )
    play = Play(group(inner, child(C), intensity=once, escalate=True))
    play.run(Begin())
    assert play.kill(A) == ["start /g/a#2"]
    assert play.kill(A) == ["stop /g/b", "start /g/a#3", "start /g/b#2"], "the group"
    play.kill(A)
    assert play.kill(A) == ["stop /g/c", "stop /g/b", "start /g/a#5", "start /g/b#3", "start /g/c#2"], (
        "its parent"
    )
    play.kill(A)
    assert play.kill(A) == ["escalate"], "the top: this process ends, its own parent acts"


def test_a_group_over_its_intensity_without_escalation_is_quarantined_whole() -> None:
    """SUP-5: nothing of the group is left running half."""
    once = Intensity(restarts_max=1, period_s=60.0)
    play = Play(group(child(A, escalate=True, intensity=once), child(B), intensity=once))
    play.run(Begin())
    play.kill(A)
    play.kill(A)
    play.kill(A)
    assert play.kill(A) == ["kill /g/b#2", "quarantine /g/b", "quarantine /g/a"]
    assert play.run(Retry(address=Address("/g"))) == ["start /g/a#5", "start /g/b#3"]


def test_a_refused_child_never_starts_until_its_reason_is_gone() -> None:
    """SUP-5: quarantined from the beginning, with the reason; not even a retry starts it."""
    play = Play(group(child(A, refused="no ports"), child(B)))
    assert play.run(Begin()) == ["quarantine /g/a", "start /g/b#1"]
    assert play.state.children[A].last_error == "no ports"
    assert play.run(Retry(address=A)) == []
    play.tree = group(child(A), child(B))
    assert play.run(Reshaped()) == ["start /g/a#1"]


def test_a_child_refused_after_it_ran_starts_when_the_reason_is_gone_and_one_that_failed_does_not() -> None:
    """SUP-5: the one was stopped for others' sake, the other waits for an operator."""
    play = Play(group(child(A), child(B)))
    play.run(Begin())
    for _ in range(6):
        play.kill(B)
    assert play.states() == {A: "running", B: "quarantined"}
    play.tree = group(child(A, refused="no ports"), child(B))
    assert play.run(Reshaped()) == ["kill /g/a#1", "quarantine /g/a"]
    play.tree = group(child(A), child(B))
    assert play.run(Reshaped()) == ["start /g/a#2"]
    assert play.states() == {A: "running", B: "quarantined"}


def test_incarnations_go_on_over_a_removal() -> None:
    """SUP-2: late news of one that was removed is not taken for that of the one put back in its place."""
    play = Play(group(child(A), child(B)))
    play.run(Begin())
    play.kill(B)
    with_b, without_b = play.tree, group(child(A))
    play.tree = without_b
    assert play.run(Reshaped()) == ["stop /g/b"]
    play.tree = with_b
    assert [short(effect) for effect in play.step(Reshaped())] == ["start /g/b#3"]
    assert [short(e) for e in play.step(Started(address=B, incarnation=2))] == ["kill /g/b#2"]
    assert play.step(Ended(address=B, incarnation=2, why="killed")) == []
    assert play.step(Started(address=B, incarnation=3)) == []
    assert (play.states()[B], play.state.children[B].restarts) == ("running", 0), "put back is no restart"
    assert play.state.former == {}


def test_only_so_many_removed_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-2: names that come and go for ever fill no memory; the longest gone is forgotten first."""
    monkeypatch.setattr(restart, "_FORMER_MAX", 100)
    play = Play(group(child(A)))
    play.run(Begin())
    for batch in range(3):
        play.tree = group(*(child(Address(f"/g/{batch}-{number}")) for number in range(50)))
        play.run(Reshaped())
    play.tree = group(child(B))
    play.run(Reshaped())
    assert len(play.state.former) == 100
    assert A not in play.state.former
    assert Address("/g/2-49") in play.state.former


def test_a_retry_that_would_start_nobody_says_why() -> None:
    """SUP-5: not in quarantine, refused by its spec, or everything stops; a group counts by its members."""
    once = Intensity(restarts_max=1, period_s=60.0)
    play = Play(group(child(A, intensity=once), child(B, refused="no ports"), child(C)))
    play.run(Begin())
    assert retry_refusal(play.tree, play.state, A) == "nothing of it is in quarantine"
    assert retry_refusal(play.tree, play.state, B) == "no ports"
    assert retry_refusal(play.tree, play.state, Address("/g")) == "no ports"
    play.kill(A)
    play.kill(A)
    for address in (A, Address("/g")):
        assert retry_refusal(play.tree, play.state, address) == ""
    play.run(StopAll())
    assert retry_refusal(play.tree, play.state, A) == "everything is being stopped"


def test_adopted_children_are_not_started_and_keep_their_count() -> None:
    """SUP-4: adoption is no restart."""
    play = Play(group(child(A), child(B)))
    assert play.run(Adopted(address=A, incarnation=4)) == []
    assert play.run(Begin()) == ["start /g/b#1"]
    assert play.state.children[A].restarts == 3
    assert play.kill(A) == ["start /g/a#5"]


def test_a_start_that_was_overtaken_is_ended() -> None:
    """SUP-2: what finishes its start after a stop was ordered does not stay."""
    play = Play(group(child(A)))
    play.step(Begin())
    assert [short(e) for e in play.step(StopAll())] == ["stop /g/a"]
    assert [short(e) for e in play.step(Started(address=A, incarnation=1))] == ["kill /g/a#1"]
    assert play.step(Due(address=A, incarnation=2)) == []
    assert play.states()[A] == "stopped"


def test_the_back_off_is_spread_by_chance() -> None:
    """SUP-2: jitter shortens a wait by at most its share."""
    backoff = Backoff(first_s=0.1, max_s=30.0, jitter=0.2)
    assert backoff_s(backoff, failures=3, chance=0.0) == pytest.approx(0.2)
    assert backoff_s(backoff, failures=3, chance=0.999) == pytest.approx(0.16, abs=0.001)
    assert backoff_s(backoff, failures=5000, chance=0.0) == 30.0


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (group(child(A), child(A)), "occurs twice"),
        (group(child(A, shutdown_s=0.0)), "shutdown_s 0.0"),
        (group(child(A, backoff=Backoff(first_s=2.0, max_s=1.0))), "backoff 2.0 to 1.0"),
        (group(child(A, intensity=Intensity(restarts_max=0))), "restarts_max 0"),
        (group(child(Address("a"))), "begins with '/'"),
    ],
)
def test_a_wrong_tree_is_refused_before_anything_starts(tree: GroupSpec, names: str) -> None:
    """SUP-2: the error names the address, the value and what was expected."""
    with pytest.raises(InvalidValueError, match=names):
        validate(tree)


# --------------------------------------------------------------------------- properties

_STRATEGIES = st.sampled_from(list(Strategy))
_MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            ["ended", "hung", "start_failed", "started", "due", "retry", "old", "reshape", "pass"]
        ),
        st.integers(0, 2),
        st.floats(0.0, 40.0),
        st.floats(0.0, 0.99),
    ),
    max_size=80,
)


def _event(kind: str, address: Address, incarnation: int) -> Event:
    match kind:
        case "ended":
            return Ended(address=address, incarnation=incarnation, why="killed")
        case "hung":
            return Hung(address=address, incarnation=incarnation, why="silent")
        case "start_failed":
            return StartFailed(address=address, incarnation=incarnation, why="no")
        case "started":
            return Started(address=address, incarnation=incarnation)
        case "due":
            return Due(address=address, incarnation=incarnation + 1)
        case "retry":
            return Retry(address=address)
        case "old":
            return Ended(address=address, incarnation=incarnation - 1, why="old news")
        case _:
            return Reshaped()


def _starts(effects: Iterable[Effect]) -> list[Start]:
    return [effect for effect in effects if isinstance(effect, Start) and effect.after_s == 0.0]


@settings(max_examples=200, deadline=None)
@given(strategy=_STRATEGIES, escalate=st.booleans(), moves=_MOVES)
def test_whatever_happens_the_law_holds(
    strategy: Strategy, escalate: bool, moves: list[tuple[str, int, float, float]]
) -> None:
    """SUP-2, SUP-5: no illegal transition, incarnations only grow, no storm of restarts, and a stop is final."""
    specs = (child(A, escalate=escalate), child(B), child(C))
    tree = group(*specs, strategy=strategy)
    state, _ = decide(tree, TreeState(), Begin(), now_s=0.0, chance=0.0)
    now_s = 0.0
    seen = {address: each.incarnation for address, each in state.children.items()}
    own_failures: dict[Address, list[float]] = {A: [], B: [], C: []}
    for kind, number, wait_s, chance in moves:
        now_s += wait_s
        address = (A, B, C)[number]
        before = state
        event = _event(kind, address, state.children[address].incarnation)
        state, effects = decide(tree, state, event, now_s=now_s, chance=chance)
        for start in _starts(effects):
            assert start.incarnation == seen[start.address] + 1
            seen[start.address] = start.incarnation
            assert state.children[start.address].state is not ChildState.QUARANTINED
        for each in state.children.values():
            assert len(each.failures_s) <= Intensity().restarts_max + 1
        if kind == "old":
            assert state == before
            assert not effects
        own_failures[address].append(now_s)
    state, effects = decide(tree, state, StopAll(), now_s=now_s, chance=0.0)
    assert {each.state for each in state.children.values()} == {ChildState.STOPPED}
    for spec in leaves(tree):
        for kind in ("ended", "start_failed", "due", "retry", "reshape"):
            event = _event(kind, spec.address, state.children[spec.address].incarnation)
            state, effects = decide(tree, state, event, now_s=now_s, chance=0.0)
            assert not _starts(effects), kind


def test_every_state_can_be_left_and_stopped() -> None:
    """SUP-2: the table has no trap: whatever state a child is in, it can be stopped."""
    assert {before for (before, step) in TRANSITIONS if step.value == "stop"} == set(ChildState)
