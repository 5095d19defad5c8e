"""What of a refusal is told to whom: each counted by its kind, what concerns security audited by name (SEC-5, OPC-5).

A request is refused in one place, with a status; from there it is told here, so that none is forgotten. Floods are the
doorkeeper's matter: it writes down the first few of a kind, and counts the rest.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from asyncua import ua
from asyncua.common.utils import ServiceError

from protocols.endpoint import ClientNews
from protocols.opcua import limits
from protocols.opcua.doorkeeper import Doorkeeper
from protocols.opcua.ids import status
from protocols.opcua.quota import Quota

CERTIFICATE_REJECTED: Final = "CERTIFICATE_REJECTED"
RATE_LIMITED: Final = "RATE_LIMITED"
CLIENT_REFUSED: Final = "CLIENT_REFUSED"
_CODES: Final = ua.StatusCodes
EVENTS: Final[Mapping[int, str]] = {
    **dict.fromkeys(
        (
            _CODES.BadSecurityChecksFailed,
            _CODES.BadCertificateInvalid,
            _CODES.BadCertificateUriInvalid,
            _CODES.BadCertificateTimeInvalid,
            _CODES.BadCertificateUseNotAllowed,
            _CODES.BadCertificatePolicyCheckFailed,
            _CODES.BadNonceInvalid,
            _CODES.BadApplicationSignatureInvalid,
        ),
        CERTIFICATE_REJECTED,
    ),
    **dict.fromkeys(
        (
            _CODES.BadTooManySessions,
            _CODES.BadTooManySubscriptions,
            _CODES.BadTooManyMonitoredItems,
            _CODES.BadTooManyOperations,
            _CODES.BadTcpServerTooBusy,
            _CODES.BadResponseTooLarge,
        ),
        RATE_LIMITED,
    ),
    **dict.fromkeys(
        (
            _CODES.BadSecurityPolicyRejected,
            _CODES.BadSecurityModeRejected,
            _CODES.BadSessionIdInvalid,
            _CODES.BadSessionNotActivated,
            _CODES.BadUserAccessDenied,
            _CODES.BadDecodingError,
        ),
        CLIENT_REFUSED,
    ),
}
"""Which security event a refusal is; what is not here (nothing to do, an unknown service) is counted and no event."""
COUNTED: Final = {
    CERTIFICATE_REJECTED: "certificate_rejected",
    RATE_LIMITED: "limited",
    CLIENT_REFUSED: "refused",
}
"""How an event is called among the endpoint's counts, as on the other wires."""
FAULT: Final = "fault"


class KnownRefusal(ServiceError):
    """A refusal that its own place has told already, better than its status could."""


class Refusals:
    """Counts what happens with clients, and hands what concerns security to the doorkeeper."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper: Final = doorkeeper
        self._counts: Final[Counter[str]] = Counter()
        self._rate: Final = Quota(burst=limits.NEWS_BURST, per_s=limits.NEWS_PER_S, share=limits.NEWS_SHARE)
        self._unsaid: Final[Counter[str]] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """How often since the start, by event."""
        return MappingProxyType(self._counts)

    def counting(self, news: ClientNews) -> ClientNews:
        """Return a listener that counts each event before it is passed on; of a flood a few, the next one tells of it.

        Each kind by itself: who connects a thousand times a second does not hide what is refused.
        """

        def tell(event: str, peer: str, detail: str) -> None:
            self._counts[event] += 1
            if not self._rate.take(event, asyncio.get_running_loop().time()):
                self._unsaid[event] += 1
                return
            unsaid = self._unsaid.pop(event, 0)
            more = f" ({unsaid} of its kind before this were not told)" if unsaid else ""
            news(event, peer, f"{detail}{more}".lstrip())

        return tell

    def event(self, event: str, *, actor: str, peer: str, refused: str) -> None:
        """Count a security event and have it written down."""
        self._counts[COUNTED.get(event, event.lower())] += 1
        self._doorkeeper.tell(event, actor=actor, peer=peer, refused=refused)

    def fault(
        self, refusal: ServiceError | ua.UaStatusCodeError, *, actor: str, peer: str, asked: str
    ) -> None:
        """Tell of a request that was answered by a fault."""
        self._counts[FAULT] += 1
        if isinstance(refusal, KnownRefusal):
            return
        event = EVENTS.get(refusal.code)
        if event is not None:
            self.event(event, actor=actor, peer=peer, refused=f"{asked}: {status(refusal.code).name}")

    def items(self, codes: Iterable[ua.StatusCode | None], *, actor: str, peer: str, asked: str) -> None:
        """Tell of the operations of one request that were refused, once for each event: a request has a thousand."""
        found = Counter(code.value for code in codes if code is not None and not code.is_good())
        told: set[str] = set()
        for number, count in found.items():
            event = EVENTS.get(number)
            if event is None or event in told:
                continue
            told.add(event)
            why = f"{asked}: {count} of its operations: {status(number).name}"
            self.event(event, actor=actor, peer=peer, refused=why)
