"""Whoever watches this API: the feed that they share, and the places that there are."""

from __future__ import annotations

from actors.runtime import Clock
from actors.vocabulary import Severity
from actors.vocabulary.users import Principal
from api.access.errors import TooManyError
from api.access.security_log import SecurityLog
from api.stream.feed import Feed
from api.stream.places import Places
from api.stream.subscription import Identify, Subscription
from api.stream.topics import Filter


class Watching:
    """Gives subscriptions."""

    def __init__(self, feed: Feed, *, clock: Clock, log: SecurityLog, places: Places | None = None) -> None:
        self.feed = feed
        self.places = places or Places()
        self._clock = clock
        self._log = log

    def subscribe(
        self, principal: Principal, wanted: Filter, *, identify: Identify, peer: str, last_event_id: str = ""
    ) -> Subscription:
        """Return a subscription.

        Raises:
            TooManyError: there is no place left.

        """
        try:
            return Subscription(
                self.feed,
                self.places,
                principal,
                wanted,
                identify=identify,
                clock=self._clock,
                last_event_id=last_event_id,
            )
        except TooManyError as error:
            self._log.refused(
                "RATE_LIMITED",
                str(error),
                actor=principal.user_id,
                peer=peer,
                subject="stream",
                severity=Severity.MEDIUM,
            )
            raise
