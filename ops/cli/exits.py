"""Exit codes of every command and the one way to end with an error line."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3
REFUSED: Final = 4


class ExitError(Exception):
    """Ends the command: one line for a person on standard error, and the exit code."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(code, line)
        self.code = code
        self.line = line
