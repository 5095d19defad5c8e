"""The measured program: goal: whatever happens to it or to us, it ends whole and says why it failed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from ops.bench.program import running, undisturbed
from ops.cli.exits import FAILED, ExitError
from ops.ports import free_ports


def test_ports_are_free_and_all_different() -> None:
    """OPS-5: the measured program meets nobody on its ports."""
    ports = free_ports(4)
    assert len(set(ports)) == 4
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_what_must_not_be_half_done(number: signal.Signals) -> None:
    """OPS-5: Ctrl-C while processes are being ended ends the bench afterwards, not in between."""
    former = signal.getsignal(number)
    done = []

    def work() -> None:
        os.kill(os.getpid(), number)
        done.append("all of it")

    with pytest.raises(KeyboardInterrupt), undisturbed():
        work()
    assert done == ["all of it"]
    assert signal.getsignal(number) is former


def test_without_a_signal_nothing_is_raised() -> None:
    """OPS-5: and the handlers are as they were, also after an error inside."""
    former = signal.getsignal(signal.SIGINT)
    with undisturbed():
        pass
    with pytest.raises(ValueError, match="inside"), undisturbed():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGINT) is former


def test_a_program_that_refuses_to_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    """OPS-5: a broken configuration ends the bench with exit code 1 and the line that the program printed."""
    config = tmp_path / "broken.yaml"
    config.write_text("control:\n  no_such_setting: 1\n")
    left: list[str] = []
    with (
        pytest.raises(ExitError) as failed,
        running(tmp_path / "data", config=config, environment={}, left_behind=left) as program,
    ):
        program.wait_ready()
    assert failed.value.code == FAILED
    assert "control.no_such_setting" in failed.value.line
    assert left == []
    assert program.family.left() == []


def test_the_rate_is_told_by_environment_and_ours_is_not_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-5: the bench measures what it says, whatever CALEJO_ variables its user has set."""
    monkeypatch.setenv("CALEJO_CONTROL__PERIOD_S", "nonsense-of-the-user")
    left: list[str] = []
    with (
        pytest.raises(ExitError) as failed,
        running(
            tmp_path / "data", config=None, environment={"CALEJO_CONTROL__PERIOD_S": "-1"}, left_behind=left
        ) as program,
    ):
        program.wait_ready()
    assert "control.period_s" in failed.value.line
    assert "-1" in failed.value.line
    assert "nonsense" not in failed.value.line
