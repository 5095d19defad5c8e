"""Who is behind the OPC UA request that is answered right now (OPC-4, SEC-2).

Inside a request `current_caller()` answers; the processor sets it around each one, for the task that serves it. Whoever
needs it later (in a task, in a callback) takes it along: it is a frozen value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from actors.vocabulary.access import UserRole
from actors.vocabulary.callers import Caller, Shown

ANONYMOUS: Final = "anonymous"

_caller: Final[ContextVar[Caller | None]] = ContextVar("opcua_caller", default=None)


def anonymous(roles: Iterable[UserRole]) -> Caller:
    """Return whoever shows nothing, with the roles that the settings give them."""
    return Caller(name=ANONYMOUS, roles=frozenset(roles), how=Shown.NOTHING)


def current_caller() -> Caller:
    """Return who is behind the request that is answered now.

    Raises:
        LookupError: no request with an activated session is; our bug, and never a reason to let somebody pass.

    """
    caller = _caller.get()
    if caller is None:
        raise LookupError("no OPC UA request with a session is being answered")
    return caller


@contextmanager
def answering(caller: Caller | None) -> Iterator[None]:
    """Say who is behind what is done inside; None: nobody is known (yet)."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)
