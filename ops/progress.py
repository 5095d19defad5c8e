"""What a start or an end tells while it goes on: how many parts, and which it is about (SUP-2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TextIO

_NAMED: Final = 3
_LINE_COLUMNS: Final = 110
_STOPPED: Final = frozenset({"stopped", "quarantined"})


class Part(Protocol):
    """What it needs to know of an actor: a row of the tree."""

    @property
    def address(self) -> str:
        """The actor's address."""
        ...

    @property
    def state(self) -> str:
        """How it is: starting, running, restarting, quarantined or stopped."""
        ...


def starting(parts: Sequence[Part], missing: Iterable[str]) -> str:
    """Return the line of a start: what runs, of how many, and what it waits for."""
    up = sum(part.state == "running" for part in parts)
    waits = [part.address for part in parts if part.state in {"starting", "restarting"}] or list(missing)
    return _fitted(f"  {up} of {len(parts)} parts run" + _naming("waiting for", waits))


def stopping(parts: Sequence[Part]) -> str:
    """Return the line of an end: what is left."""
    left = [part.address for part in parts if part.state not in _STOPPED]
    return _fitted(f"  {len(left)} parts left" + _naming("stopping", list(reversed(left))))


def _naming(verb: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"; {verb} {', '.join(names[:_NAMED])}{more}"


def _fitted(line: str) -> str:
    return line if len(line) <= _LINE_COLUMNS else f"{line[: _LINE_COLUMNS - 1]}…"


class Teller:
    """Writes lines that stay, and between them one that changes: in place on a terminal, else at most each second."""

    def __init__(self, stream: TextIO, *, every_s: float = 1.0) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._every_s = every_s
        self._passing = ""
        self._told_at_s = float("-inf")

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self._write(f"{self._cleared()}{line}\n")

    def passing(self, line: str, *, now_s: float) -> None:
        """Write how things stand at `now_s` (any clock that only rises)."""
        if line == self._passing or (not self._terminal and now_s - self._told_at_s < self._every_s):
            return
        text = f"{self._cleared()}{line}" if self._terminal else f"{line}\n"
        self._passing, self._told_at_s = line, now_s
        self._write(text)

    def _cleared(self) -> str:
        shown, self._passing = self._passing, ""
        return "\r\x1b[K" if self._terminal and shown else ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
