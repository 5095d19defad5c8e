"""The words of the restart law: states of a child and their one table, what happens, what is to be done. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Final, TypeAlias

import msgspec

from actors.vocabulary import Address

# --------------------------------------------------------------------------- states of one child


@unique
class ChildState(StrEnum):
    """What `calejo tree` shows."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    QUARANTINED = "quarantined"
    STOPPED = "stopped"


@unique
class Step(StrEnum):
    """What moves a child from state to state."""

    START = "start"
    ANSWERS = "answers"
    FAIL = "fail"
    TAKE_DOWN = "take_down"
    GIVE_UP = "give_up"
    STOP = "stop"


_S, _T = ChildState, Step
TRANSITIONS: Final[Mapping[tuple[ChildState, Step], ChildState]] = {
    (_S.STOPPED, _T.START): _S.STARTING,
    (_S.STOPPED, _T.ANSWERS): _S.RUNNING,  # adopted
    (_S.STOPPED, _T.GIVE_UP): _S.QUARANTINED,  # refused from the beginning
    (_S.STOPPED, _T.STOP): _S.STOPPED,
    (_S.STARTING, _T.ANSWERS): _S.RUNNING,
    (_S.STARTING, _T.FAIL): _S.RESTARTING,
    (_S.STARTING, _T.TAKE_DOWN): _S.RESTARTING,
    (_S.STARTING, _T.GIVE_UP): _S.QUARANTINED,
    (_S.STARTING, _T.STOP): _S.STOPPED,
    (_S.RUNNING, _T.FAIL): _S.RESTARTING,
    (_S.RUNNING, _T.TAKE_DOWN): _S.RESTARTING,
    (_S.RUNNING, _T.GIVE_UP): _S.QUARANTINED,
    (_S.RUNNING, _T.STOP): _S.STOPPED,
    (_S.RESTARTING, _T.START): _S.STARTING,
    (_S.RESTARTING, _T.TAKE_DOWN): _S.RESTARTING,
    (_S.RESTARTING, _T.GIVE_UP): _S.QUARANTINED,
    (_S.RESTARTING, _T.STOP): _S.STOPPED,
    (_S.QUARANTINED, _T.START): _S.STARTING,
    (_S.QUARANTINED, _T.STOP): _S.STOPPED,
}


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """One child's life so far; times in s of the boot clock. `failures_s`: those within the intensity's period.

    `gone_at_s`: when it was last noticed that it no longer ran; `away_s`: how long it was away then, until it answered
    again; None while it is.
    """

    state: ChildState = ChildState.STOPPED
    incarnation: int = 0
    restarts: int = 0
    failures_s: tuple[float, ...] = ()
    start_failures: int = 0
    last_error: str = ""
    gone_at_s: float | None = None
    away_s: float | None = None
    # In quarantine because its spec refuses it, not for what it did: it starts as soon as the reason is gone.
    refused: bool = False

    def moved(self, step: Step) -> Child:
        """Return it after `step`; a step that the table does not know is our own mistake."""
        return msgspec.structs.replace(self, state=TRANSITIONS[self.state, step])

    def gone(self, now_s: float) -> Child:
        """Return it as of the moment when it is noticed not to run any longer; one that did not run, unchanged."""
        if self.state is not ChildState.RUNNING:
            return self
        return msgspec.structs.replace(self, gone_at_s=now_s, away_s=None)

    def back(self, now_s: float) -> Child:
        """Return it as of the moment when it answers again."""
        if self.gone_at_s is None or self.away_s is not None:
            return self
        return msgspec.structs.replace(self, away_s=max(0.0, now_s - self.gone_at_s))


class TreeState(msgspec.Struct, frozen=True, kw_only=True):
    """All children by address, and for each group the instants (s) of its own restarts.

    `former`: the last incarnation at addresses that left the tree. One that comes back counts on from there, or late
    news of its predecessor would be taken for its own.
    """

    children: dict[Address, Child] = {}
    former: dict[Address, int] = {}
    group_failures_s: dict[Address, tuple[float, ...]] = {}
    stopping: bool = False


# --------------------------------------------------------------------------- events and effects


class Begin(msgspec.Struct, frozen=True, kw_only=True):
    """Start everything that is stopped, in order."""


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """A living child answered before `Begin`."""

    address: Address
    incarnation: int


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A start succeeded."""

    address: Address
    incarnation: int


class StartFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A start failed; nothing of it is left."""

    address: Address
    incarnation: int
    why: str


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A child's process ended; `why` is '' for an ordered end."""

    address: Address
    incarnation: int
    why: str


class Hung(msgspec.Struct, frozen=True, kw_only=True):
    """A child gave no sign of life."""

    address: Address
    incarnation: int
    why: str


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A back-off is over."""

    address: Address
    incarnation: int


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A person takes a child or a group out of quarantine: with a clean record, or it would fall back at once."""

    address: Address


class Reshaped(msgspec.Struct, frozen=True, kw_only=True):
    """The tree given with this event replaces the former: what is new starts, what is gone stops."""


class StopAll(msgspec.Struct, frozen=True, kw_only=True):
    """Stop everything in reverse order; nothing starts any more."""


Event: TypeAlias = Begin | Adopted | Started | StartFailed | Ended | Hung | Due | Retry | Reshaped | StopAll


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Start this incarnation, at once or (through the mailbox, as `Due`) after `after_s`."""

    address: Address
    incarnation: int
    after_s: float = 0.0


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """End it in order, by force after its shutdown time."""

    address: Address


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """End this incarnation by force."""

    address: Address
    incarnation: int


class Quarantine(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is tried any more: tell safety and people."""

    address: Address
    why: str


class Escalate(msgspec.Struct, frozen=True, kw_only=True):
    """The top group gave up: this supervisor's process ends, its parent acts."""

    why: str


Effect: TypeAlias = Start | Stop | Kill | Quarantine | Escalate
