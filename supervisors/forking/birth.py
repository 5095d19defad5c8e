"""How this worker came to be: forked from a template or started cold; None in any other process."""

from __future__ import annotations

from typing import Final, Literal

Birth = Literal["forked", "cold"]
FORKED: Final = "forked"

_birth: Birth | None = None


def forked() -> None:
    """Note, in the forked process, that it is one."""
    global _birth  # noqa: PLW0603  a fact about the process, written once
    _birth = "forked"


def worker() -> None:
    """Note that this process is a worker: a cold one, if nobody said otherwise before."""
    global _birth  # noqa: PLW0603
    _birth = _birth or "cold"


def how() -> Birth | None:
    """Return how this process began, None when it is no worker."""
    return _birth
