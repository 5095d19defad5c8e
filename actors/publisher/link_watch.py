"""Which alarms follow from an endpoint's link to its broker: no host sees us, values are lost, a disk refuses."""

from __future__ import annotations

from typing import Final

from actors.plan.conditions import ConditionBook
from actors.vocabulary import Instant, Severity
from actors.vocabulary.links import LinkStatus

HOSTS_UNSERVED: Final = "hosts_unserved"
BACKFILL_LOST: Final = "backfill_lost"
LINK_UNSAVED: Final = "link_unsaved"
# A broker's restart is no alarm; a loss is one for as long as somebody may look for its cause.
UNSERVED_S: Final = 30.0
LOST_SHOWN_S: Final = 600.0


class LinkWatch:
    """Holds what is wrong with one link in an endpoint's own book of conditions."""

    def __init__(self, conditions: ConditionBook, subject: str) -> None:
        self._conditions = conditions
        self._subject = subject
        self._away_since: Instant | None = None
        self._lost: int | None = None
        self._lost_at: Instant | None = None

    def look(self, link: LinkStatus, *, now: Instant) -> None:
        """Judge the link as it stands."""
        self._away_since = None if link.session else self._away_since or now
        if self._away_since is not None and now.seconds_since(self._away_since) >= UNSERVED_S:
            self._conditions.hold(HOSTS_UNSERVED, self._subject, Severity.MEDIUM, _unserved(link))
        else:
            self._conditions.clear(HOSTS_UNSERVED, self._subject)
        if self._lost is not None and link.backfill_lost > self._lost:
            self._lost_at = now
        # What was lost before this process began is no news.
        self._lost = link.backfill_lost
        if self._lost_at is not None and now.seconds_since(self._lost_at) < LOST_SHOWN_S:
            text = f"{link.backfill_lost} values were lost before a host could be given them"
            self._conditions.hold(BACKFILL_LOST, self._subject, Severity.MEDIUM, text)
        else:
            self._conditions.clear(BACKFILL_LOST, self._subject)
        if link.storage_fault:
            text = f"what hosts have not seen is kept in memory only: {link.storage_fault}"
            self._conditions.hold(LINK_UNSAVED, self._subject, Severity.MEDIUM, text)
        else:
            self._conditions.clear(LINK_UNSAVED, self._subject)


def _unserved(link: LinkStatus) -> str:
    if not link.connected:
        return f"no host sees our values: {link.peer}: {link.last_error or 'no connection'}"
    if not link.host_online:
        return f"no host sees our values: the primary host is away from {link.peer}"
    return f"no host sees our values: no birth at {link.peer} yet"
