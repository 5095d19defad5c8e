"""What waits to be read: a flood drops itself, and neither a stop nor the primary host's word."""

from __future__ import annotations

import asyncio
from typing import Any

import aiomqtt
import pytest

from protocols.sparkplug.incoming import INCOMING_MAX, URGENT_MAX, Incoming


def message(topic: str, payload: bytes = b"") -> aiomqtt.Message:
    return aiomqtt.Message(topic, payload, qos=0, retain=False, mid=0, properties=None)


class Queue:
    def __init__(self, maxsize: int = INCOMING_MAX) -> None:
        self.dropped = 0
        self.looks = 0
        self.queue = Incoming(
            maxsize,
            is_state=lambda each: each.topic.value.startswith("state"),
            is_stop=self.is_stop,
            dropped=self.drop,
        )

    def is_stop(self, each: aiomqtt.Message) -> bool:
        self.looks += 1
        return each.payload == b"stop"

    def drop(self) -> None:
        self.dropped += 1

    def read(self) -> list[tuple[str, Any]]:
        found = []
        while not self.queue.empty():
            each = self.queue.get_nowait()
            found.append((each.topic.value, each.payload))
        return found


def test_a_flood_drops_itself_and_is_counted() -> None:
    """SPB-1, EST-4: two thousand messages, then a stop and the host's word: both are read, and first."""
    waiting = Queue()
    for number in range(2_000):
        waiting.queue.put_nowait(message("command", str(number).encode()))
    waiting.queue.put_nowait(message("command", b"stop"))
    waiting.queue.put_nowait(message("state", b"offline"))
    assert waiting.dropped == 1_000
    assert waiting.queue.qsize() == 1_002
    found = waiting.read()
    assert found[:3] == [("command", b"stop"), ("state", b"offline"), ("command", b"0")]
    assert found[-1] == ("command", b"999")


def test_the_host_s_words_keep_their_order() -> None:
    """SPB-1: its birth and its death bear one timestamp: read the other way round it would be there for ever."""
    waiting = Queue()
    waiting.queue.put_nowait(message("state", b"online"))
    for _ in range(100):
        waiting.queue.put_nowait(message("command", b"x"))
    waiting.queue.put_nowait(message("state", b"offline"))
    assert [payload for topic, payload in waiting.read() if topic == "state"] == [b"online", b"offline"]


def test_what_waits_for_a_moment_only_is_not_looked_into() -> None:
    """SPB-1: reading every message twice would help a flood."""
    waiting = Queue()
    for _ in range(10):
        waiting.queue.put_nowait(message("command", b"stop"))
    assert waiting.looks == 0
    assert len(waiting.read()) == 10


def test_the_front_is_bounded_too() -> None:
    """SPB-1: whoever may stop may not fill our memory with it."""
    waiting = Queue(40)
    for _ in range(40 + URGENT_MAX + 5):
        waiting.queue.put_nowait(message("command", b"stop"))
    assert waiting.queue.qsize() + waiting.dropped == 40 + URGENT_MAX + 5
    assert waiting.queue.qsize() <= 40 + URGENT_MAX


def test_who_waits_is_woken() -> None:
    """SPB-1: it is still a queue."""

    async def story() -> None:
        waiting = Queue()
        reading = asyncio.create_task(waiting.queue.get())
        await asyncio.sleep(0)
        waiting.queue.put_nowait(message("command", b"1"))
        assert (await asyncio.wait_for(reading, 10)).payload == b"1"
        with pytest.raises(asyncio.QueueEmpty):
            waiting.queue.get_nowait()

    asyncio.run(story())
