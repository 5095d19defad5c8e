"""SIGINT and SIGTERM as a request that waits for a good moment, but not for ever."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from ops.stop_request import StopInsistedError, StopRequest


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def asked_and_hanging(stop: StopRequest) -> None:
    with stop:
        send(signal.SIGTERM)
        threading.Event().wait(30)


def asked(times: int) -> None:
    with StopRequest():
        for _ in range(times):
            send(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_first_signal_is_remembered_and_tells_whoever_asks(number: signal.Signals) -> None:
    """HA-1: a start is not torn apart in its midst; it looks when it can, or is called."""
    called: list[str] = []
    with StopRequest() as stop:
        before = stop.asked
        send(number)
        assert (before, stop.asked) == (False, True)
        stop.call(lambda: called.append("late"))
        send(number)
    assert called == ["late"]


def test_a_signal_while_running_calls_back_once() -> None:
    """HA-1: the loop hears of it."""
    called: list[str] = []
    with StopRequest() as stop:
        stop.call(lambda: called.append("now"))
        assert called == []
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert called == ["now"]


def test_what_does_not_end_is_left() -> None:
    """HA-1: stopping has a bound, wherever the program hangs."""
    with pytest.raises(StopInsistedError):
        asked_and_hanging(StopRequest(insist_after_s=0.01))


def test_a_third_signal_insists_at_once() -> None:
    """HA-1: an impatient operator is heard."""
    asked(2)
    with pytest.raises(StopInsistedError):
        asked(3)


def test_an_end_under_way_is_not_interrupted() -> None:
    """HA-1: what has its own bounds is left alone."""
    with StopRequest(insist_after_s=0.01) as stop:
        send(signal.SIGTERM)
        stop.answered()
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert not threading.Event().wait(0.05)


def test_the_handlers_before_are_back_afterwards() -> None:
    """HA-1: nothing of it stays."""
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    with StopRequest():
        pass
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == before
