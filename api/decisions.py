"""The past of a pump as REST and the command line give it: found, refused with a reason, or told whole (SAF-4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from actors.runtime import Clock
from actors.stores import DecisionReader
from actors.vocabulary import (
    InvalidValueError,
    NotRememberedError,
    UnavailableError,
    UnknownSubjectError,
)
from actors.vocabulary.chains import DecisionChain
from actors.vocabulary.ids import checked_id
from actors.vocabulary.settings import Settings
from api.decision_views import DecidedView, PastView, explained, listed
from api.paging import sealed, unsealed
from api.sources import Sources, find_pump

PAGE: Final = 100
PAGE_MAX: Final = 500
SPAN_DEFAULT: Final = timedelta(hours=24)
# Two clocks read one after the other, and a person who types: no question about the future yet.
_AHEAD_MAX: Final = timedelta(seconds=2)
# A plus sign that nobody encoded arrives as a space.
_LOST_PLUS: Final = re.compile(r"^(\S+T\S+) (\d\d:?\d\d)$")


class DecisionList(NamedTuple):
    """A page of the decisions made in [start, end), the newest first; `following`: the cursor of the next one."""

    rows: list[DecidedView]
    following: str
    start: datetime
    end: datetime


class Decisions:
    """Answers about the past. `store` None: this API was started without a database; `sources` None: nothing runs."""

    def __init__(
        self, sources: Sources | None, store: DecisionReader | None, *, clock: Clock, settings: Settings
    ) -> None:
        self._sources = sources
        self._store = store
        self._clock = clock
        self._settings = settings

    async def at(self, pump_id: str, text: str) -> PastView:
        """Return the whole chain that held for a pump at a moment.

        Raises:
            InvalidValueError: this is no id, no moment with a zone, or one that has not come yet.
            NotRememberedError: it is before what is kept.
            UnknownSubjectError: there is no such pump, or nothing was decided for it until then.
            DeviceError: the database is away.

        """
        now = self._clock.now().utc
        pump_id, at = checked_id(pump_id, place="pump_id"), past_moment(text, place="at", now=now)
        chain = await self._reader.chain(pump_id, at=at)
        if chain.decision is None and chain.oldest_at is None:
            await self._must_exist(pump_id)
        return told(chain, at=at, now=now, settings=self._settings)

    async def page(
        self, pump_id: str, *, start: str | None, end: str | None, cursor: str, count: int, trail: bool
    ) -> DecisionList:
        """Return decisions of a pump in a span (default: the last 24 h), the newest first, a page at a time.

        Raises:
            InvalidValueError: this is no id, no moment, no span or no cursor.
            UnknownSubjectError: there is no such pump.
            DeviceError: the database is away.

        """
        now = self._clock.now().utc
        pump_id = checked_id(pump_id, place="pump_id")
        until = now if end is None else moment_of(end, place="to")
        since = until - SPAN_DEFAULT if start is None else moment_of(start, place="from")
        if since >= until:
            text = f"from: {since.isoformat()}, expected a moment before `to`, {until.isoformat()}"
            raise InvalidValueError(text)
        place = unsealed(cursor)
        found = await self._reader.page(pump_id, start=since, end=until, following=place, count_max=count)
        if not found.decisions and not cursor:
            chain = await self._reader.chain(pump_id, at=now)
            if chain.oldest_at is None:
                await self._must_exist(pump_id)
        rows = [listed(each, trail=trail) for each in found.decisions]
        return DecisionList(rows, sealed(found.following), since, until)

    @property
    def _reader(self) -> DecisionReader:
        if self._store is None:
            raise UnavailableError("decisions: this API has no database")
        return self._store

    async def _must_exist(self, pump_id: str) -> None:
        """Return if the plant has the pump, or nobody can tell (then that nothing was ever decided is the answer).

        Raises:
            UnknownSubjectError: it has not.

        """
        if self._sources is None:
            return
        try:
            topology = await self._sources.topology()
        except UnavailableError:
            return
        find_pump(topology, pump_id)


def told(chain: DecisionChain, *, at: datetime, now: datetime, settings: Settings) -> PastView:
    """Return a chain as shown, or say why there is none.

    Raises:
        NotRememberedError: the moment is before what is kept.
        UnknownSubjectError: nothing was decided for the pump until then.

    """
    days = settings.history.decisions_days
    if chain.decision is not None:
        return explained(chain, at=at, row_period_s=settings.control.decision_record_period_s)
    first = "" if chain.oldest_at is None else f"; its oldest decision is of {chain.oldest_at.isoformat()}"
    if at < now - timedelta(days=days):
        text = f"pump {chain.pump_id!r}: decisions are kept for {days} days (history.decisions_days){first}"
        raise NotRememberedError(text)
    if chain.oldest_at is None:
        raise UnknownSubjectError(f"pump {chain.pump_id!r}: no decision was ever recorded for it")
    raise UnknownSubjectError(
        f"pump {chain.pump_id!r}: nothing was decided for it at {at.isoformat()}{first}"
    )


def past_moment(text: str, *, place: str, now: datetime) -> datetime:
    """Read a moment that has been.

    Raises:
        InvalidValueError: it is none, has no zone, or is yet to come.

    """
    found = moment_of(text, place=place)
    if found > now + _AHEAD_MAX:
        raise InvalidValueError(f"{place}: {found.isoformat()} has not come yet, it is {now.isoformat()}")
    return found


def moment_of(text: str, *, place: str) -> datetime:
    """Read a moment in ISO 8601 with its zone, such as `2026-11-21T10:05:00Z` or `…+01:00`.

    Raises:
        InvalidValueError: it is none, or has no zone.

    """
    given = _LOST_PLUS.sub(r"\1+\2", text.strip())
    try:
        found = datetime.fromisoformat(given)
        if found.tzinfo is None:
            expected = "expected a zone as well, such as 2026-11-21T10:05:00Z"
            raise InvalidValueError(f"{place}: {text[:60]!r} does not say in which zone, {expected}")
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidValueError(
            f"{place}: {text[:60]!r}, expected ISO 8601 with a zone, such as 2026-11-21T10:05:00Z"
        ) from None
