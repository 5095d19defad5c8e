"""How often a user and an address may ask; an emergency stop is never refused for it (API-2, EST-4, SEC-5)."""

from __future__ import annotations

from typing import Final

from actors.access.buckets import Buckets
from actors.runtime import Clock
from actors.vocabulary import Severity
from actors.vocabulary.access import Operation
from actors.vocabulary.settings import ApiSettings, is_loopback
from actors.vocabulary.sources import source_of
from actors.vocabulary.users import Principal
from api.access.errors import TooManyError
from api.access.security_log import SecurityLog

# Whoever looks at the plant reads a few resources at once; a stop reads nothing first.
_NEVER_REFUSED: Final = Operation.SET_STOP


class Rates:
    """Counts requests."""

    def __init__(self, api: ApiSettings, *, clock: Clock, log: SecurityLog) -> None:
        self._users = Buckets(per_s=api.user_requests_per_s)
        self._addresses = Buckets(per_s=api.address_requests_per_s)
        self._clock = clock
        self._log = log

    def check_address(self, address: str, operation: Operation | None, *, peer: str) -> None:
        """Count a request of an address, before anybody is asked who they are. This machine's own is not counted.

        Raises:
            TooManyError: it asks too often.

        """
        if operation is _NEVER_REFUSED or not address or is_loopback(address):
            return
        wait_s = self._addresses.take(source_of(address), self._clock.now())
        if wait_s > 0.0:
            self._refuse(f"{address} asks too often", wait_s, actor="", peer=peer)

    def check_user(self, principal: Principal, operation: Operation, *, peer: str) -> None:
        """Count a request of a user.

        Raises:
            TooManyError: this one asks too often.

        """
        # The run's own credential is this machine's own user, who may stop the whole process as well.
        if operation is _NEVER_REFUSED or principal.is_local:
            return
        wait_s = self._users.take(principal.user_id, self._clock.now())
        if wait_s > 0.0:
            self._refuse(f"{principal.user_id} asks too often", wait_s, actor=principal.user_id, peer=peer)

    def _refuse(self, why: str, wait_s: float, *, actor: str, peer: str) -> None:
        self._log.refused("RATE_LIMITED", why, actor=actor, peer=peer, severity=Severity.MEDIUM)
        raise TooManyError(f"{why}: try again in {wait_s:.1f} s", wait_s)
