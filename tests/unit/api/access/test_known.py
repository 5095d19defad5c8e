"""What is remembered of the store's answers: how long, and what a change of one does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from actors.vocabulary import DeviceError
from actors.vocabulary.access import UserRole
from actors.vocabulary.users import Account
from api.access.known import ENTRIES_MAX, FRESH_S, STALE_S, Known
from tests.unit.actors.pump.parts import at, instant
from tests.unit.api.people import person


class Bench:
    """A store that is there, or away, or answers when told to; and a clock that is set by hand."""

    def __init__(self) -> None:
        self.t_s = 0.0
        self.away = False
        self.asked: list[str] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.known: Known[str] = Known(self._ask, self)  # type: ignore[arg-type]  # of a clock only `now` is asked

    def now(self) -> object:
        return instant(self.t_s)

    async def get(self, key: str) -> str | None:
        found = await self.known.get(key, deadline_s=5.0)
        return None if found is None else found[0]

    async def _ask(self, key: str) -> tuple[str, Account] | None:
        self.asked.append(key)
        if self.away:
            raise DeviceError("away")
        answer = None if key.startswith("x") else (f"{key}{len(self.asked)}", owner(key))
        await self.answering.wait()
        return answer


def owner(key: str) -> Account:
    return person(key.rstrip("0123456789"), UserRole.OPERATOR, at(0))


def play(story: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        await story(Bench())

    asyncio.run(run())


def test_an_answer_is_fresh_then_stale_then_none() -> None:
    """SEC-1, DAT-3: a second without a query, ten minutes without a store."""

    async def story(it: Bench) -> None:
        assert await it.get("a") == "a1"
        it.t_s = FRESH_S - 0.1
        assert await it.get("a") == "a1"
        it.away, it.t_s = True, STALE_S - 0.1
        assert await it.get("a") == "a1"
        it.t_s = STALE_S
        with pytest.raises(DeviceError, match="does not answer"):
            await it.get("a")

    play(story)


def test_who_is_changed_is_forgotten_and_nobody_else() -> None:
    """SEC-1: what one change makes old is asked anew; the others hold while the store is away."""

    async def story(it: Bench) -> None:
        for key in ("a1", "a2", "b1"):
            await it.get(key)
        it.known.forget(user_id="a")
        it.away, it.t_s = True, FRESH_S
        assert await it.get("b1") == "b13"
        for key in ("a1", "a2"):
            with pytest.raises(DeviceError):
                await it.get(key)

    play(story)


def test_many_who_ask_the_same_at_once_ask_the_store_once() -> None:
    """DAT-3: a page of forty requests costs a slow store one question; who gives up takes nobody's answer away."""

    async def story(it: Bench) -> None:
        it.answering.clear()
        many = [asyncio.create_task(it.get("a")) for _ in range(40)]
        impatient = asyncio.create_task(it.known.get("a", deadline_s=0.01))
        with pytest.raises(DeviceError, match="too late"):
            await impatient
        it.known.forget(user_id="b")  # a change: whoever asks from now on must not be answered from before it
        later = asyncio.create_task(it.get("a"))
        await asyncio.sleep(0)
        it.answering.set()
        assert await asyncio.gather(*many) == ["a1"] * 40
        assert await later == "a2"
        assert it.asked == ["a", "a"]
        assert it.known._flights == {}

    play(story)


def test_a_question_that_everybody_gave_up_ends() -> None:
    """DAT-3: nothing goes on asking for nobody, and the next one asks anew."""

    async def story(it: Bench) -> None:
        it.answering.clear()
        with pytest.raises(DeviceError):
            await it.known.get("a", deadline_s=0.01)
        assert it.known._flights == {}
        it.answering.set()
        assert await it.get("a") == "a2"

    play(story)


def test_what_is_doubted_is_asked_first_and_holds_without_an_answer() -> None:
    """SEC-1, DAT-3: a change that nobody can tell to have been made costs a question, no view."""

    async def story(it: Bench) -> None:
        await it.get("a")
        it.known.doubt(user_id="a")
        it.away = True
        assert await it.get("a") == "a1"
        assert it.asked == ["a", "a"], "asked, fresh or not"
        it.away = False
        assert await it.get("a") == "a3"
        it.known.doubt()
        assert await it.get("a") == "a4"

    play(story)


def test_an_answer_of_before_a_change_is_not_kept() -> None:
    """SEC-1: what was asked before a change and comes after it may be the former."""

    async def story(it: Bench) -> None:
        it.answering.clear()
        asking = asyncio.create_task(it.get("a"))
        while not it.asked:
            await asyncio.sleep(0)
        it.known.learn("a", ("new", owner("a")))
        it.answering.set()
        assert await asking == "a1"
        assert await it.get("a") == "new"

    play(story)


def test_what_nobody_has_pushes_nobody_out() -> None:
    """SEC-1: inventions are remembered apart, and few of them."""

    async def story(it: Bench) -> None:
        await it.get("a")
        for number in range(ENTRIES_MAX + 10):
            assert await it.get(f"x{number}") is None
        assert "a" in it.known
        assert await it.get("a") == "a1"
        assert len(it.known._nobodys) < ENTRIES_MAX

    play(story)
