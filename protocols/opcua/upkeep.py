"""What an open endpoint looks after by itself: new certificates, lost trust, disabled users, its health (OPC-4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from asyncua import ua

from actors.vocabulary import DeviceError
from actors.vocabulary.callers import Caller
from actors.vocabulary.pki import OwnCertificate, Pki, Trust
from protocols.opcua import limits
from protocols.opcua.admission import Admission
from protocols.opcua.certificates import name_of
from protocols.opcua.health import Health
from protocols.opcua.session import Session
from protocols.opcua.subscriptions import cancel

if TYPE_CHECKING:
    from protocols.opcua.transport import Listener

_Answer = TypeVar("_Answer")
_Shown: TypeAlias = tuple[Caller, bytes, bytes]
SHOW_PERIOD_S: Final = 0.5
_SHOWN_MAX: Final = 8
# A flood of strangers is not worth more of a disk.
_KEPT_PER_LOOK: Final = 2
_US: Final = "OPC UA"


class Upkeep:
    """Three loops, apart from each other: a disk that hangs keeps no disabled user in."""

    def __init__(
        self,
        admission: Admission,
        pki: Pki | None,
        *,
        renewed: Callable[[OwnCertificate], Awaitable[None]],
        fault: Callable[[Exception, str], None],
    ) -> None:
        """Take what to look after. `renewed` is told of a new certificate of our own, for clients from now on."""
        self._admission = admission
        self._pki = pki
        self._renewed = renewed
        self._fault = fault
        self._problem = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def load(self) -> None:
        """Read certificates for the first time.

        Raises:
            DeviceError: our own cannot be read, or the disk does not answer.

        """
        if self._pki is None:
            return
        self._admission.own = await _beside(self._pki.own)
        self._admission.trust = await _beside(self._pki.trust)

    def begin(self, listener: Listener, health: Health) -> None:
        """Start looking."""
        loop = asyncio.get_running_loop()
        watched: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (limits.STANDING_PERIOD_S, partial(self.look_at_sessions, listener)),
            (SHOW_PERIOD_S, health.show),
        ]
        if self._pki is not None:
            watched.append((limits.PKI_PERIOD_S, partial(self.look_at_certificates, self._pki)))
        self._tasks = [loop.create_task(self._every(period_s, look)) for period_s, look in watched]

    async def end(self) -> None:
        """Stop looking."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            await cancel(task)

    async def look_at_certificates(self, pki: Pki) -> None:
        """Take up what changed on disk; what cannot be read now stays as it was, and is told once."""
        admission = self._admission
        try:
            own, trust = await _beside(pki.own), await _beside(pki.trust)
            before, admission.trust = admission.trust, trust
            if trust != before:
                admission.doorkeeper.tell(
                    "TRUST_CHANGED", actor="calejo", peer="", subject=_difference(before, trust)
                )
            for _ in range(min(_KEPT_PER_LOOK, len(admission.rejected))):
                await _beside(partial(pki.keep_rejected, *admission.rejected.popleft()))
        except DeviceError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._tell_of_certificate(self._problem)
            return
        self._problem = ""
        if own != admission.own:
            admission.own = own
            await self._renewed(own)
            self._tell_of_certificate("")

    async def look_at_sessions(self, listener: Listener) -> None:
        """End the sessions of whoever may not stay."""
        shown: dict[_Shown, list[Session]] = {}
        for session in listener.server.sessions:
            if session.caller is not None:
                key = session.caller, session.application, session.user_certificate
                shown.setdefault(key, []).append(session)
        # All at once: a database that is slow with each must not let the last one stay for a minute.
        stay = await asyncio.gather(*(self._admission.may_stay(*each) for each in shown))
        for (key, sessions), may in zip(shown.items(), stay, strict=True):
            for session in () if may else sessions:
                if session.caller != key[0]:
                    continue  # somebody else has it by now
                self._admission.doorkeeper.tell(
                    "SESSION_ENDED", actor=key[0].name, peer=str(session.name), subject=_US
                )
                await _end(session, listener)

    def _tell_of_certificate(self, refused: str) -> None:
        self._admission.doorkeeper.tell(
            "CERTIFICATE_REPLACED", actor="calejo", peer="", refused=refused, subject=_US
        )

    async def _every(self, period_s: float, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(period_s)
            try:
                await look()
            except Exception as error:  # noqa: BLE001 - a bug of ours: told to the loop's owner, who decides
                self._fault(error, "upkeep")


def _difference(before: Trust, after: Trust) -> str:
    """Return what changed between two lists of trust, by the beginning of each certificate's hash."""
    old = {*before.applications, *before.users}
    new = {*after.applications, *after.users}
    parts = [f"+{name_of(der)}" for der in sorted(new - old)] + [
        f"-{name_of(der)}" for der in sorted(old - new)
    ]
    return ", ".join(parts[:_SHOWN_MAX]) or "roles or names"


async def _end(session: Session, listener: Listener) -> None:
    channel = session.channel
    await session.close_session()
    for connection in list(listener.connections):
        if channel is not None and connection.carries(channel):
            connection.refuse(ua.StatusCodes.BadUserAccessDenied, "no longer let in")


async def _beside(work: Callable[[], _Answer]) -> _Answer:
    """Do what waits for a disk beside the loop.

    Raises:
        DeviceError: as `work` raises, or it takes too long.

    """
    try:
        async with asyncio.timeout(limits.DISK_DEADLINE_S):
            return await asyncio.to_thread(work)
    except TimeoutError as error:
        raise DeviceError("certificates: the disk does not answer") from error
