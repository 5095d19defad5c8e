"""One who watches: where they stand in the ring, what they asked for, whether they still may, and how it is told.

A subscription holds no queue: it is a place in the ring that everybody shares. Who falls behind what the ring holds, or
further than old news is good for, is told so and dropped; nobody is shown a plant of half a minute ago as the present.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from enum import StrEnum, unique
from typing import Any, Final

import msgspec

from actors.runtime import Clock
from actors.vocabulary import CalejoError, DeviceError, Instant
from actors.vocabulary.users import Principal
from api.stream.feed import Feed
from api.stream.places import Places
from api.stream.ring import Event
from api.stream.topics import Filter, Item, Topic, not_allowed

HEARTBEAT_S: Final = 2.0
CHECK_S: Final = 3.0
LAG_S_MAX: Final = 15.0

Identify = Callable[[], Awaitable[Principal]]


@unique
class Kind(StrEnum):
    """What is told besides the topics."""

    HELLO = "hello"
    SNAPSHOT = "snapshot"
    GAP = "gap"
    HEARTBEAT = "heartbeat"
    OVERRUN = "overrun"
    ENDED = "ended"


class Told(msgspec.Struct, frozen=True):
    """One thing told: its event, its data as JSON, and the id to resume from ('': the former one still counts)."""

    event: str
    data: bytes
    event_id: str = ""

    @property
    def ends(self) -> bool:
        """Whether this is the last."""
        return self.event in {Kind.OVERRUN, Kind.ENDED}


class Subscription:
    """Someone who watches. `identify` finds out again who they are; `last_event_id` '': they are new."""

    def __init__(
        self,
        feed: Feed,
        places: Places,
        principal: Principal,
        wanted: Filter,
        *,
        identify: Identify,
        clock: Clock,
        last_event_id: str = "",
    ) -> None:
        """Take a place.

        Raises:
            TooManyError: there is none left.

        """
        self._feed = feed
        self._places = places
        self._principal = principal
        self._wanted = wanted
        self._mark = wanted.mark
        self._identify = identify
        self._clock = clock
        self._last_event_id = last_event_id[:100]
        self._cursor = 0
        self._ticket = places.take(principal.user_id)

    async def told(self) -> AsyncGenerator[Told, None]:
        """Tell what there is and then what changes, until they may no longer, or fall behind, or the API ends."""
        self._feed.enter()
        try:
            await self._feed.first_look()
            for each in self._beginning():
                yield each
            async for each in self._going_on():
                yield each
                if each.ends:
                    return
        finally:
            self._feed.leave()
            self.leave()

    def leave(self) -> None:
        """Give the place back."""
        self._places.leave(self._ticket)

    # ------------------------------------------------------------------ the beginning

    def _beginning(self) -> Iterable[Told]:
        ring, why = self._feed.ring, ""
        number = ring.number_of(self._last_event_id, self._mark) if self._last_event_id else None
        if self._last_event_id and number is None:
            why = "the event is of another life of the feed, or of another question"
        elif number is not None and ring.after(number) is None:
            number, why = None, "the events behind it are no longer kept"
        elif number is not None and self._too_old(next(iter(ring.after(number) or ()), None)):
            number, why = None, f"the events behind it are older than {LAG_S_MAX:g} s"
        self._cursor = ring.newest if number is None else number
        yield Told(Kind.HELLO, self._hello(resumed=number is not None))
        if why:
            yield Told(Kind.GAP, msgspec.json.encode({"asked": self._last_event_id, "why": why}))
        if number is None:
            yield Told(Kind.SNAPSHOT, self._snapshot(), ring.id_of(self._cursor, self._mark))

    def _hello(self, *, resumed: bool) -> bytes:
        return msgspec.json.encode(
            {
                "user": self._principal.user_id,
                "role": self._principal.role.value,
                "topics": sorted(self._wanted.topics),
                "resumed": resumed,
                "heartbeat_s": HEARTBEAT_S,
                "at": self._now().utc.isoformat(),
            }
        )

    def _snapshot(self) -> bytes:
        topics = {
            topic.value: _rows(_chosen(self._feed.tables.get(topic, {}), topic, self._wanted).values())
            for topic in Topic
            if topic in self._wanted.topics
        }
        return msgspec.json.encode({"at": self._now().utc.isoformat(), "topics": topics})

    # ------------------------------------------------------------------ what comes then

    async def _going_on(self) -> AsyncGenerator[Told, None]:
        beat = checked = self._now()
        while True:
            if self._feed.is_closed:
                yield _last(Kind.ENDED, "the API is ending: connect again")
                return
            now = self._now()
            if now.seconds_since(checked) >= CHECK_S:
                if why := await self._no_longer_may():
                    yield _last(Kind.ENDED, why)
                    return
                checked = self._now()
            behind = self._feed.ring.after(self._cursor)
            if behind is None:
                yield _last(Kind.OVERRUN, "too slow: events were lost; connect again, without an event id")
                return
            # A list: the ring may grow while we send.
            for event in list(behind):
                if self._too_old(event):
                    why = f"too slow: more than {LAG_S_MAX:g} s behind; connect again"
                    yield _last(Kind.OVERRUN, why)
                    return
                self._cursor = event.number
                if (told := self._event(event)) is not None:
                    yield told
            if self._now().seconds_since(beat) >= HEARTBEAT_S:
                beat = self._now()
                yield Told(Kind.HEARTBEAT, self._heartbeat(), self._feed.ring.id_of(self._cursor, self._mark))
            if self._cursor == self._feed.ring.newest:
                left_s = min(HEARTBEAT_S - self._now().seconds_since(beat), CHECK_S)
                await self._news(max(0.0, left_s))

    async def _news(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await self._feed.changed()
        except TimeoutError:
            return

    async def _no_longer_may(self) -> str:
        """Return why this one may watch no longer, '' if they may."""
        try:
            principal = await self._identify()
        except DeviceError as error:
            return f"{error}: connect again"
        except CalejoError as error:
            return str(error)
        if lost := not_allowed(self._wanted.topics, principal):
            return f"{principal.role.value} may not watch {lost}"
        return ""

    def _event(self, event: Event) -> Told | None:
        topic, change = event.change.topic, event.change
        rows = _chosen(change.changed, topic, self._wanted)
        gone = [key for key, place in change.removed.items() if self._wanted.takes(topic, place)]
        if not rows and not gone:
            return None
        data = {"at": event.at.utc.isoformat(), "changed": _rows(rows.values()), "removed": gone}
        return Told(topic.value, msgspec.json.encode(data), self._feed.ring.id_of(event.number, self._mark))

    def _heartbeat(self) -> bytes:
        now, looked_at = self._now(), self._feed.looked_at()
        return msgspec.json.encode(
            {
                "at": now.utc.isoformat(),
                "looked_at": None if looked_at is None else looked_at.utc.isoformat(),
                "age_s": None if looked_at is None else round(now.seconds_since(looked_at), 3),
            }
        )

    def _too_old(self, event: Event | None) -> bool:
        return event is not None and self._now().seconds_since(event.at) > LAG_S_MAX

    def _now(self) -> Instant:
        return self._clock.now()


def _chosen(rows: Mapping[str, Item], topic: Topic, wanted: Filter) -> Mapping[str, Item]:
    return {key: row for key, row in rows.items() if wanted.takes(topic, row.place)}


def _rows(items: Iterable[Item]) -> list[Any]:
    return [msgspec.Raw(each.json) for each in items]


def _last(kind: Kind, why: str) -> Told:
    return Told(kind, msgspec.json.encode({"why": why}))
