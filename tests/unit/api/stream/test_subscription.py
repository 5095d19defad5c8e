"""One who watches, with a clock of our own: falling behind, losing rights, heartbeats, places."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import pytest

from actors.vocabulary import DeviceError, Instant
from actors.vocabulary.access import UserRole
from actors.vocabulary.users import Principal
from api.access.errors import TooManyError, UnauthenticatedError
from api.stream import subscription
from api.stream.feed import Feed
from api.stream.places import Places
from api.stream.subscription import LAG_S_MAX, Kind, Subscription, Told
from api.stream.topics import Change, Filter, Item, Place, Topic

ANNA = Principal(user_id="anna", role=UserRole.READ_ONLY)


class Clock:
    """Moves when told to."""

    def __init__(self) -> None:
        self.s = 0.0

    def now(self) -> Instant:
        return Instant("boot", round(self.s * 1e9), 1_800_000_000_000_000_000 + round(self.s * 1e9))


class Watched(Feed):
    """A feed that asks nobody: the test tells what changes."""

    def __init__(self, clock: Clock) -> None:
        none: Any = None
        super().__init__(none, none, clock=clock, log=none, tasks=none)  # type: ignore[arg-type]

    def enter(self) -> None:
        self._watchers += 1

    async def first_look(self) -> None:
        return

    def tell(self, key: str, *, size: int = 1) -> None:
        self.ring.append(
            Change(Topic.STOPS, {key: Item(Place(), json.dumps("x" * size).encode())}, {}), self._clock.now()
        )
        self._tell()


class Story:
    """A feed, a clock, and one who watches."""

    def __init__(self, **named: Any) -> None:
        self.clock = Clock()
        self.feed = Watched(self.clock)
        self.places = Places()
        self.answer: Principal | Exception = ANNA
        self.watching = Subscription(
            self.feed,
            self.places,
            ANNA,
            Filter(topics=frozenset({Topic.STOPS})),
            identify=self.identify,
            clock=self.clock,  # type: ignore[arg-type]
            **named,
        )
        self.told = self.watching.told()

    async def identify(self) -> Principal:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def next(self, *, beats: bool = False) -> Told:
        """Return what is told next; heartbeats only if asked for."""
        async with asyncio.timeout(10):
            while True:
                told = await anext(self.told)
                if beats or told.event != Kind.HEARTBEAT:
                    return told

    async def begun(self) -> None:
        assert (await self.next()).event == Kind.HELLO
        assert (await self.next()).event == Kind.SNAPSHOT
        self.feed.tell("the first thing")
        assert (await self.next()).event == Topic.STOPS

    async def is_over(self) -> bool:
        async with asyncio.timeout(10):
            return await anext(self.told, None) is None


def test_who_falls_out_of_the_ring_is_told_and_dropped() -> None:
    """API-2: a bounded queue per client; a slow one is told and dropped, and its place is free."""

    async def story() -> None:
        one = Story()
        await one.begun()
        one.feed.ring._events_max = 3
        for number in range(5):
            one.feed.tell(f"stop-{number}")
        assert (await one.next()).event == Kind.OVERRUN
        assert await one.is_over()
        assert len(one.places) == 0

    asyncio.run(story())


def test_old_news_are_not_shown_as_the_present() -> None:
    """API-2: who is further behind than 15 s is dropped, whatever the ring still holds."""

    async def story() -> None:
        one = Story()
        await one.begun()
        one.feed.tell("first")
        one.feed.tell("second")
        assert (await one.next()).event == Topic.STOPS
        one.clock.s += LAG_S_MAX + 0.1  # it took so long to send that one
        last = await one.next()
        assert last.event == Kind.OVERRUN
        assert "15 s behind" in json.loads(last.data)["why"]
        assert await one.is_over()

    asyncio.run(story())


@pytest.mark.parametrize(
    "answer",
    [
        UnauthenticatedError("the session is over (ended): log in again"),
        DeviceError("users: the database does not answer"),
        Principal(user_id="anna", role=UserRole.FIELD),
    ],
)
def test_who_may_no_longer_is_told_and_ended(answer: Principal | Exception) -> None:
    """SEC-1, SEC-2: a session over or a right gone ends the stream; so does not being able to know."""

    async def story() -> None:
        one = Story()
        await one.begun()
        one.answer = answer
        one.clock.s += subscription.CHECK_S
        one.feed.tell("after")
        last = await one.next()
        assert last.event == Kind.ENDED
        assert await one.is_over()
        assert len(one.places) == 0

    asyncio.run(story())


def test_rights_are_looked_at_also_while_much_is_told() -> None:
    """SEC-1: a stream that never rests is no way to go on."""

    async def story() -> None:
        one = Story()
        await one.begun()
        one.answer = UnauthenticatedError("over")
        kinds = []
        for number in range(20):
            one.feed.tell(f"s{number}")
            one.clock.s += 0.5
            kinds.append((await one.next()).event)
            if kinds[-1] == Kind.ENDED:
                break
        assert kinds[-1] == Kind.ENDED
        assert len(kinds) <= 10

    asyncio.run(story())


def test_the_end_of_the_api_is_told() -> None:
    """API-2: a browser learns that it has to come back, at once."""

    async def story() -> None:
        one = Story()
        await one.begun()
        one.feed.close()
        assert (await one.next()).event == Kind.ENDED
        assert await one.is_over()

    asyncio.run(story())


def test_a_heartbeat_says_how_old_the_look_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """HMI-2: silence is either a heartbeat or a lost connection; a look that fails shows as its age."""
    monkeypatch.setattr(subscription, "HEARTBEAT_S", 0.05)

    async def story() -> None:
        one = Story()
        await one.begun()
        one.feed._looked_at["plant"] = one.clock.now()
        one.clock.s += 4.0
        beat = await one.next(beats=True)
        assert beat.event == Kind.HEARTBEAT
        assert json.loads(beat.data)["age_s"] == 4.0
        assert beat.event_id, "what was passed over need not be told again"

    asyncio.run(story())


def test_resumed_within_the_ring_nothing_is_missed_and_nothing_told_twice() -> None:
    """API-2: resume by Last-Event-ID; else the gap is told, and the whole after it."""

    async def story() -> None:
        first = Story()
        await first.begun()
        first.feed.tell("a")
        last = await first.next()
        first.feed.tell("b")

        for event_id, kinds in (
            (last.event_id, [Kind.HELLO, Topic.STOPS]),
            ("", [Kind.HELLO, Kind.SNAPSHOT]),
            ("0123456789abcdef-1-00000000", [Kind.HELLO, Kind.GAP, Kind.SNAPSHOT]),
            (first.feed.ring.id_of(99, Filter(topics=frozenset({Topic.STOPS})).mark), [Kind.HELLO, Kind.GAP]),
        ):
            again = Subscription(
                first.feed,
                first.places,
                ANNA,
                Filter(topics=frozenset({Topic.STOPS})),
                identify=first.identify,
                clock=first.clock,  # type: ignore[arg-type]
                last_event_id=event_id,
            )
            told = again.told()
            got = [await anext(told) for _ in kinds]
            assert [each.event for each in got] == kinds
            assert json.loads(got[0].data)["resumed"] == (Topic.STOPS in kinds)
            if Topic.STOPS in kinds:
                assert len(json.loads(got[1].data)["changed"]) == 1
            await told.aclose()
        # What waits is older than anybody should be shown.
        first.clock.s += LAG_S_MAX + 1
        late = Subscription(
            first.feed,
            first.places,
            ANNA,
            Filter(topics=frozenset({Topic.STOPS})),
            identify=first.identify,
            clock=first.clock,  # type: ignore[arg-type]
            last_event_id=last.event_id,
        ).told()
        assert [(await anext(late)).event for _ in range(3)] == [Kind.HELLO, Kind.GAP, Kind.SNAPSHOT]
        await late.aclose()

    asyncio.run(story())


def test_places_are_limited_and_come_free_even_if_nobody_says_so() -> None:
    """API-2: a limit per user and in all; a subscription that was never begun holds nothing."""
    places = Places(per_user_max=2, streams_max=3)
    held = [places.take("anna"), places.take("anna")]
    with pytest.raises(TooManyError, match="anna watches 2 times"):
        places.take("anna")
    held.append(places.take("bert"))
    with pytest.raises(TooManyError, match="3 watch already"):
        places.take("carl")
    places.leave(held[0])
    places.leave(held.pop(0))
    assert len(places) == 2
    held.clear()
    gc.collect()
    assert len(places) == 0
    story = Story()
    assert len(story.places) == 1
    left = story.places
    del story
    gc.collect()
    assert len(left) == 0
