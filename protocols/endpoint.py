"""The port between a publisher and a protocol server: the same for OPC UA, Modbus and the fake of the simulation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

from actors.vocabulary import WriteRefusal
from actors.vocabulary.callers import Caller
from actors.vocabulary.client_calls import CallAnswer, ClientCall, PastPage, PastQuestion, ShownAlarms
from actors.vocabulary.links import LinkStatus
from protocols.points import Point, PointValue


class ClientWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One point a client wants to write, already decoded to engineering units."""

    path: str
    value: bool | int | float
    peer: str
    # Refused by the protocol already: to be counted and audited like the publisher's own refusals, not carried out.
    refusal: WriteRefusal | None = None
    # Who writes; None: the wire knows no users.
    caller: Caller | None = None


# All writes of one request. One answer each, None: accepted. Modbus refuses the whole request when any is refused
# (the guard then must have applied none: `all_or_nothing`), OPC UA answers item by item.
WriteGuard: TypeAlias = Callable[[Sequence[ClientWrite], bool], Awaitable[Sequence[WriteRefusal | None]]]

# Called right before values are read by a client, so that what is served is never older than the lease allows.
Refresh: TypeAlias = Callable[[], None]

# A client connected, left, or was refused: (event, peer, detail); for the log, the metrics and the audit trail.
ClientNews: TypeAlias = Callable[[str, str, str], None]


# A client's command, judged by the table of permissions and carried out, or not; a client's fault is answered.
CallDesk: TypeAlias = Callable[[ClientCall], Awaitable[CallAnswer]]

# The past of a point from our own storage; raises DeviceError when that is away, within a bound.
PastReader: TypeAlias = Callable[[PastQuestion], Awaitable[PastPage]]


class EndpointServer(Protocol):
    """A protocol server. Lives in the publisher's event loop; every bound and refusal of FACTS is inside it."""

    async def configure(self, points: Sequence[Point]) -> None:
        """Serve exactly these points from now on; those that stay keep address, value and subscriptions."""
        ...

    def publish(self, values: Mapping[str, PointValue]) -> None:
        """Take new values by path, all visible to a client at once (no torn block). Unknown paths are a bug."""
        ...

    async def open(self, *, guard: WriteGuard, refresh: Refresh, news: ClientNews) -> None:
        """Bind the port and serve.

        Raises:
            DeviceError: the port is taken or may not be bound.

        """
        ...

    async def close(self) -> None:
        """Stop serving, drop every client, free the port."""
        ...

    @property
    def bound(self) -> str:
        """Where it listens, '' while it does not."""
        ...

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        ...


@runtime_checkable
class Counting(Protocol):
    """What an endpoint adds that counts what happens with its clients."""

    @property
    def told(self) -> Mapping[str, int]:
        """How often since the start, by event: connected, refused, limited, exception_02 and so on."""
        ...


@runtime_checkable
class Operated(Protocol):
    """What an endpoint adds whose clients command, acknowledge alarms and look back (OPC-3)."""

    def operate(self, *, call: CallDesk, past: PastReader) -> None:
        """Take what answers; before `open`."""
        ...

    def show_alarms(self, alarms: ShownAlarms) -> None:
        """Show the site's alarms as they are now, whole."""
        ...


@runtime_checkable
class Linked(Protocol):
    """What an endpoint adds that connects to a broker instead of binding a port."""

    @property
    def link(self) -> LinkStatus:
        """How the connection stands."""
        ...

    async def ended(self) -> None:
        """Return when it is closed; raises a fault of our own, which its actor must not outlive."""
        ...


@runtime_checkable
class Secured(Protocol):
    """What an endpoint adds that knows certificates and users, and shows how well the server is."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of its security is switched off; to be said at every start."""
        ...

    @property
    def security(self) -> Mapping[tuple[str, str], int]:
        """How often each security event came since the start, by (event, 'success' or 'refused')."""
        ...

    def show_health(self, level: int) -> None:
        """Take the service level, 0 to 255, that clients shall see (OPC 10000-4, 6.6.2.4.2)."""
        ...
