"""Goal: back-off, sessions and password rules are what SPEC says. Method: timelines and edges, no clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from actors.access.accounts import set_enabled, set_password, set_role, without_factor
from actors.access.backoff import ACCOUNT_FREE, FORGET_AFTER_S, WAIT_S_MAX, BackOff
from actors.access.passwords import LENGTH_MAX, LENGTH_MIN, check_form, words_around
from actors.access.sessions import REUSED, SessionState, ended, refreshed, seen, state_of
from actors.vocabulary import Instant, InvalidValueError, RefusedError
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.users import Account, AccountKind, Principal, Session, checked_user_id

START = Instant("boot", 0, 1_800_000_000 * 10**9)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
IDLE_S = 1800.0


def owner(*, enabled: bool = True) -> Account:
    return Account(
        user_id="anna", kind=AccountKind.PERSON, role=UserRole.OPERATOR, created_at=NOON, created_by="x",
        enabled=enabled,
    )  # fmt: skip


def session(**changed: object) -> Session:
    made = Session(
        session_id="s1", user_id="anna", started_at=NOON, seen_at=NOON, expires_at=NOON + timedelta(hours=12),
        source_address="127.0.0.1:1",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)


def test_the_wait_doubles_after_the_free_failures_and_is_bounded() -> None:
    """SEC-1: lock-out with back-off: five tries are free, then 1, 2, 4 … 900 s; success forgets."""
    book, now, waits = BackOff(free=ACCOUNT_FREE), START, []
    for _ in range(20):
        waits.append(book.failed("anna", now))
        now = now.plus(waits[-1])
        assert book.wait_s("anna", now) == 0.0, "once waited, one may try again"
    assert waits[:8] == [0, 0, 0, 0, 1, 2, 4, 8]
    assert max(waits) == WAIT_S_MAX == waits[-1]
    book.succeeded("anna")
    assert book.failed("anna", now) == 0.0


def test_a_wait_is_counted_from_the_last_failure_and_forgotten_after_an_hour() -> None:
    """SEC-1: trying during the wait costs nothing more, waiting it out ends it."""
    book, now = BackOff(free=1), START
    assert book.failed("a", now) == 1.0
    assert book.wait_s("a", now.plus(0.4)) == pytest.approx(0.6)
    assert book.wait_s("b", now) == 0.0, "others are not concerned"
    assert book.failed("a", now.plus(FORGET_AFTER_S)) == 1.0


def test_the_book_is_bounded_and_forgets_the_oldest() -> None:
    """SEC-1: a flood of names fills no memory."""
    book = BackOff(free=1, entries_max=3)
    for name in ("a", "b", "a", "c", "d"):
        book.failed(name, START)
    assert len(book) == 3
    assert book.wait_s("b", START) == 0.0
    assert book.wait_s("a", START) > 0.0


@pytest.mark.parametrize(
    ("changed", "after_s", "enabled", "expected"),
    [
        ({}, 1799.9, True, SessionState.LIVE),
        ({}, 1800.0, True, SessionState.IDLE),
        ({"seen_at": NOON + timedelta(hours=11.9)}, 43_199.0, True, SessionState.LIVE),
        ({"seen_at": NOON + timedelta(hours=11.9)}, 43_200.0, True, SessionState.EXPIRED),
        ({"ended_at": NOON, "ended_by": "anna"}, 1.0, True, SessionState.ENDED),
        ({}, 1.0, False, SessionState.DISABLED),
        ({"ended_at": NOON, "ended_by": "anna"}, 1.0, False, SessionState.DISABLED),
    ],
)
def test_a_session_ends_idle_absolutely_by_hand_and_with_its_account(
    changed: dict[str, object], after_s: float, enabled: bool, expected: SessionState
) -> None:
    """SEC-1: idle and absolute session time-out; disabling an account ends its sessions."""
    now = NOON + timedelta(seconds=after_s)
    assert state_of(session(**changed), owner(enabled=enabled), now=now, idle_s=IDLE_S) is expected


def test_a_refresh_counts_once_and_its_reuse_ends_the_family() -> None:
    """SEC-1: rotation; the thief's token and the owner's are worth nothing after one of them came twice."""
    now = NOON + timedelta(seconds=600)
    first = refreshed(session(), owner(), generation=0, now=now, idle_s=IDLE_S)
    assert (first.refusal, first.session.generation, first.session.seen_at) == ("", 1, now)
    again = refreshed(first.session, owner(), generation=0, now=now, idle_s=IDLE_S)
    assert again.refusal == REUSED
    assert again.session.ended_at == now
    assert refreshed(again.session, owner(), generation=1, now=now, idle_s=IDLE_S).refusal != ""


@pytest.mark.parametrize("enabled", [True, False])
def test_a_dead_session_is_not_refreshed(enabled: bool) -> None:
    """SEC-1: what is idle, over or disabled stays so."""
    late = NOON + timedelta(seconds=IDLE_S if enabled else 1)
    turn = refreshed(session(), owner(enabled=enabled), generation=0, now=late, idle_s=IDLE_S)
    assert turn.refusal
    assert turn.session == session()


def test_an_end_is_written_once() -> None:
    """SEC-1: who ended a session first stands there."""
    once = ended(session(), by="anna", reason="logout", at=NOON)
    assert ended(once, by="root", reason="disabled", at=NOON + timedelta(1)) == once


@pytest.mark.parametrize("password", ["x" * LENGTH_MIN, "x" * LENGTH_MAX, "            ", "ключ-от-насоса"])
def test_length_is_all_that_is_asked_of_its_form(password: str) -> None:
    """SEC-1: 12 to 128 characters, no composition rules."""
    check_form(password)


@pytest.mark.parametrize(
    "password", ["x" * (LENGTH_MIN - 1), "x" * (LENGTH_MAX + 1), "", "\ud800" * 12, "\0" * 12]
)
def test_what_is_no_password_is_refused_without_showing_it(password: str) -> None:
    """SEC-1, SEC-3: the error names the expectation, never the password."""
    with pytest.raises(InvalidValueError) as refused:
        check_form(password)
    assert not password or password not in str(refused.value)


def test_the_first_guesses_know_the_user_and_the_program() -> None:
    """SEC-1: the user's own name and ours are no secret."""
    assert {"anna.berg", "anna", "berg", "calejo"} <= set(words_around("anna.berg"))


def person(user_id: str, role: UserRole = UserRole.ADMINISTRATOR, *, enabled: bool = True) -> Account:
    return msgspec.structs.replace(owner(enabled=enabled), user_id=user_id, role=role)


@pytest.mark.parametrize(
    "others",
    [
        (),
        (person("bert", UserRole.ENGINEER),),
        (person("bert", enabled=False),),
        (msgspec.structs.replace(person("bert"), kind=AccountKind.SERVICE),),
    ],
)
def test_the_last_administrator_stays(others: tuple[Account, ...]) -> None:
    """SEC-1: somebody must be able to let others in: neither disabled nor demoted while nobody else can."""
    anna = person("anna")
    with pytest.raises(RefusedError, match="last administrator"):
        set_enabled(anna, others, enabled=False)
    with pytest.raises(RefusedError, match="last administrator"):
        set_role(anna, others, role=UserRole.OPERATOR)
    two = (*others, person("carl"))
    assert set_enabled(anna, two, enabled=False).enabled is False
    assert set_role(anna, two, role=UserRole.OPERATOR).role is UserRole.OPERATOR


def test_a_service_account_gets_no_password() -> None:
    """SEC-1: programs have keys."""
    with pytest.raises(InvalidValueError, match="keys"):
        set_password(
            msgspec.structs.replace(owner(), kind=AccountKind.SERVICE),
            password_hash="$x", at=NOON, must_change=False,
        )  # fmt: skip


@pytest.mark.parametrize(
    "name", ["", "-a", "a b", "a" * 41, "ä", "local", "local:anna", "calejo", "a\nb", "a/b"]
)
def test_a_name_is_a_name(name: str) -> None:
    """SEC-1: no user is ever named as Calejo itself or as the local command line."""
    with pytest.raises(InvalidValueError):
        checked_user_id(name)
    assert checked_user_id(" Anna.Berg ") == "anna.berg"


def test_a_key_narrows_its_role_and_never_widens_it() -> None:
    """SEC-1, SEC-2: a scope is an intersection."""
    key = Principal(
        user_id="scada",
        role=UserRole.OPERATOR,
        operations=frozenset({Operation.SET_STOP, Operation.MANAGE_USERS}),
    )
    assert [each for each in Operation if key.may(each)] == [Operation.SET_STOP]


def test_a_person_gets_a_new_password_and_is_asked_to_change_it() -> None:
    """SEC-1: who else knows it is remembered; nothing else of the account moves."""
    before = owner()
    after = set_password(before, password_hash="$x", at=NOON, must_change=True)
    assert (after.password_hash, after.password_at, after.must_change) == ("$x", NOON, True)
    same = {"password_hash": "", "password_at": None, "must_change": False}
    assert msgspec.structs.replace(after, **same) == msgspec.structs.replace(before, **same)


def test_a_factor_that_is_taken_away_leaves_its_last_step() -> None:
    """SEC-1: an old code must not count with the next secret."""
    before = msgspec.structs.replace(owner(), totp="secret", totp_wanted="next")
    after = without_factor(before)
    assert (after.totp, after.totp_wanted) == ("", "")
    assert msgspec.structs.replace(after, totp="secret", totp_wanted="next") == before


def test_failures_of_before_a_restart_are_taken_over_once_and_within_the_bound() -> None:
    """SEC-1: what is known already counts more, and a full book takes no more."""
    book = BackOff(free=1, entries_max=2)
    assert book.count("a", START) == 0
    book.failed("a", START)
    book.remember("a", 9, START)
    assert book.count("a", START) == 1
    book.remember("b", 9, START)
    book.remember("c", 9, START)
    assert [book.count(name, START) for name in "abc"] == [1, 9, 0]
    assert book.wait_s("b", START) > 0.0


def test_a_session_that_is_seen_lives_on_and_one_that_is_over_stays_so() -> None:
    """SEC-1: seen moves forward only, and only while it lives."""
    now = NOON + timedelta(seconds=600)
    moved = seen(session(), owner(), now=now, idle_s=IDLE_S)
    assert moved.seen_at == now
    assert seen(moved, owner(), now=NOON, idle_s=IDLE_S) == moved
    late = NOON + timedelta(seconds=IDLE_S)
    assert seen(session(), owner(), now=late, idle_s=IDLE_S) == session()
    assert seen(session(), owner(enabled=False), now=now, idle_s=IDLE_S) == session()
