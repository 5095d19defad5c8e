"""What a start and an end tell while they go on."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from ops.progress import Part, Teller, starting, stopping


def part(address: str, state: str) -> Part:
    return SimpleNamespace(address=address, state=state)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("states", "missing", "line"),
    [
        ("rrs", [], "  2 of 3 parts run; waiting for /2"),
        ("rsxsss", [], "  1 of 6 parts run; waiting for /1, /2, /3 and 2 more"),
        ("rr", ["/e has no port yet"], "  2 of 2 parts run; waiting for /e has no port yet"),
        ("rq", [], "  1 of 2 parts run"),
        ("", ["the API is starting"], "  0 of 0 parts run; waiting for the API is starting"),
    ],
)
def test_a_start_tells_how_many_run_and_what_it_waits_for(states: str, missing: list[str], line: str) -> None:
    """SUP-2: progress is visible while the tree comes up."""
    names = {"r": "running", "s": "starting", "x": "restarting", "q": "quarantined"}
    parts = [part(f"/{index}", names[state]) for index, state in enumerate(states)]
    assert starting(parts, missing) == line


def test_an_end_names_the_last_started_first() -> None:
    """SUP-2: reverse order, and what is left."""
    parts = [part("/a", "running"), part("/b", "running"), part("/c", "stopped")]
    assert stopping(parts) == "  2 parts left; stopping /b, /a"
    assert stopping(parts[2:]) == "  0 parts left"


def test_a_long_line_is_cut() -> None:
    """SUP-2: a line in place must not wrap."""
    line = starting([part("/" + "long" * 20, "starting"), part("/" + "long" * 20, "starting")], [])
    assert len(line) == 110
    assert line.endswith("…")


def test_a_file_gets_a_line_a_second_and_no_control_characters() -> None:
    """SUP-2: a journal stays readable."""
    stream = io.StringIO()
    teller = Teller(stream)
    teller.passing("1 of 3", now_s=0.0)
    teller.passing("2 of 3", now_s=0.5)
    teller.passing("2 of 3", now_s=1.1)
    teller.passing("2 of 3", now_s=3.0)
    teller.say("ready")
    assert stream.getvalue() == "1 of 3\n2 of 3\nready\n"


def test_a_terminal_sees_one_line_that_changes() -> None:
    """SUP-2: the operator sees the present state, and the lines that stay."""
    stream = Terminal()
    teller = Teller(stream)
    teller.passing("1 of 3", now_s=0.0)
    teller.passing("2 of 3", now_s=0.1)
    teller.say("ready")
    teller.say("stopping")
    assert stream.getvalue() == "1 of 3\r\x1b[K2 of 3\r\x1b[Kready\nstopping\n"
