"""Questions shared by those who ask the same: as fresh as if each had asked alone, and no more than two under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from actors.vocabulary import UnavailableError
from api.questions import Questions


class Oracle:
    """Answers with how often it was asked before, once it may."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_answer: list[asyncio.Future[None]] = []

    async def __call__(self) -> int:
        number, gate = self.begun, asyncio.get_running_loop().create_future()
        self.begun += 1
        self.may_answer.append(gate)
        await gate
        return number


async def settled() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


def played(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 10.0))


def test_who_asks_at_once_shares_one_question() -> None:
    """API-4: fifty askers cost one question."""

    async def story() -> None:
        questions, oracle = Questions(), Oracle()
        askers = [asyncio.create_task(questions.ask("pumps", oracle)) for _ in range(50)]
        await settled()
        assert oracle.begun == 1
        oracle.may_answer[0].set_result(None)
        assert await asyncio.gather(*askers) == [0] * 50
        assert questions.under_way == 0

    played(story)


def test_nobody_is_answered_by_a_question_that_began_before_they_asked() -> None:
    """API-4, CTL-7: who reads what they have just commanded sees it, whoever was asking already."""

    async def story() -> None:
        questions, oracle = Questions(patience_s=60.0), Oracle()
        early = asyncio.create_task(questions.ask("pumps", oracle))
        await settled()
        late = [asyncio.create_task(questions.ask("pumps", oracle)) for _ in range(20)]
        await settled()
        assert oracle.begun == 1, "the second waits for the first"
        oracle.may_answer[0].set_result(None)
        assert await early == 0
        await settled()
        assert oracle.begun == 2
        later_still = asyncio.create_task(questions.ask("pumps", oracle))
        oracle.may_answer[1].set_result(None)
        assert await asyncio.gather(*late) == [1] * 20
        await settled()
        oracle.may_answer[2].set_result(None)
        assert await later_still == 2
        assert questions.under_way == 0

    played(story)


def test_a_question_that_hangs_delays_the_next_for_a_moment_only() -> None:
    """API-4: an actor that hangs costs those who ask later no second deadline."""

    async def story() -> None:
        questions, oracle = Questions(patience_s=0.02), Oracle()
        early = asyncio.create_task(questions.ask("pumps", oracle))
        await settled()
        late = asyncio.create_task(questions.ask("pumps", oracle))
        while oracle.begun < 2:
            await asyncio.sleep(0.001)
        oracle.may_answer[1].set_result(None)
        assert await late == 1
        assert not early.done()
        # The first one ends behind the second: the line is not forgotten twice, nor before its time.
        third = asyncio.create_task(questions.ask("pumps", oracle))
        await settled()
        oracle.may_answer[0].set_result(None)
        assert await early == 0
        fourth = asyncio.create_task(questions.ask("pumps", oracle))
        await settled()
        oracle.may_answer[2].set_result(None)
        assert await third == 2
        await settled()
        oracle.may_answer[3].set_result(None)
        assert await fourth == 3
        assert questions.under_way == 0

    played(story)


def test_an_error_reaches_everybody_who_shared_it_and_nobody_later() -> None:
    """API-4: no error is kept."""

    async def story() -> None:
        questions, asked = Questions(), 0

        async def question() -> int:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0)
            if asked == 1:
                raise UnavailableError("safety: no answer")
            return asked

        outcomes = await asyncio.gather(
            *(questions.ask("pumps", question) for _ in range(5)), return_exceptions=True
        )
        assert [str(each) for each in outcomes] == ["safety: no answer"] * 5
        assert await questions.ask("pumps", question) == 2
        assert questions.under_way == 0

    played(story)


def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    """API-4: the client that began the question hangs up; the others are answered."""

    async def story() -> None:
        questions, oracle = Questions(), Oracle()
        first, second = (asyncio.create_task(questions.ask("pumps", oracle)) for _ in range(2))
        await settled()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        oracle.may_answer[0].set_result(None)
        assert await second == 0
        assert questions.under_way == 0

    played(story)


def test_an_error_that_everybody_gave_up_waiting_for_is_told_to_nobody() -> None:
    """API-4: nothing is left behind, and nothing is logged as an error that nobody took (warnings are errors here)."""

    async def story() -> None:
        questions = Questions()
        gate = asyncio.get_running_loop().create_future()
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))

        async def question() -> int:
            await gate
            raise UnavailableError("too late")

        asker = asyncio.create_task(questions.ask("pumps", question))
        await settled()
        asker.cancel()
        gate.set_result(None)
        await settled()
        assert questions.under_way == 0
        del asker
        await settled()
        assert complaints == []

    played(story)


def test_other_questions_do_not_wait_for_each_other() -> None:
    """API-4: a station that hangs holds up no other."""

    async def story() -> None:
        questions, deaf, lively = Questions(), Oracle(), Oracle()
        waiting = asyncio.create_task(questions.ask("s1", deaf))
        answered = asyncio.create_task(questions.ask("s2", lively))
        await settled()
        lively.may_answer[0].set_result(None)
        assert await answered == 0
        assert not waiting.done()
        deaf.may_answer[0].set_result(None)
        assert await waiting == 0

    played(story)
