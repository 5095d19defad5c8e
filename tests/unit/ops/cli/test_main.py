"""The command line as people type it."""

from __future__ import annotations

import pytest

from ops.cli.client import call
from ops.cli.main import build_parser


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (("--stop", "a"), ["a"]),
        (("--stop", "a", "b", "c"), ["a", "b", "c"]),
        (("--stop", "a", "--stop", "b", "c"), ["a", "b", "c"]),
        ((), []),
    ],
)
def test_a_clear_takes_several_stops(arguments: tuple[str, ...], ids: list[str]) -> None:
    """EST-6, Issue 2: `--stop ID...` and repeated, in any mixture; a second command starts with none."""
    for _ in range(2):
        parsed = build_parser().parse_args(["estop", "clear", "--reason", "r", *arguments])
        assert parsed.stop == ids


@pytest.mark.parametrize("base", ["http://::1:8080", "http://[::1", "http://127.0.0.1:99999"])
def test_what_is_no_url_is_no_connection(base: str) -> None:
    """Issue 2: a run.json written by something else ends in one line, not in a traceback."""
    with pytest.raises(ConnectionError, match="no URL to call"):
        call(base, "GET", "/health/live", timeout_s=0.5)
