"""What is kept for hosts while none listens: samples as bounded chunks of bytes, and the ports of the disk; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from actors.vocabulary import InvalidValueError
from protocols.sparkplug.edge import Sample

CHUNK_SAMPLES: Final = 200
"""So many samples are one row on disk, one step of the backfill, and lost together when there is no room."""
BUFFER_SAMPLES_MAX: Final = 50_000
"""What may wait in memory for the disk, or for the broker's word that it arrived."""

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[Sample])


class BirthCounter(Protocol):
    """Issues bdSeq numbers that survive the process."""

    def issue(self) -> int:
        """Return the next one, durable before it returns.

        Raises:
            DeviceError: the disk refused.

        """
        ...

    def issue_unsaved(self) -> int:
        """Return the next one although the disk refuses; it is another one only while this process lives."""
        ...

    def save(self) -> None:
        """Make the last number durable that the disk refused, if there is one.

        Raises:
            DeviceError: the disk refused.

        """
        ...


class Chunk(NamedTuple):
    """How many samples, and their bytes."""

    samples: int
    body: bytes


class HistoryStore(Protocol):
    """A bounded queue on disk, oldest first. Each call may block as long as the disk needs; all raise DeviceError.

    Calls may come from several threads: a caller that was cancelled leaves one behind that still works.
    """

    def append(self, chunks: Sequence[Chunk]) -> int:
        """Keep these; return how many of the oldest samples had to go for them."""
        ...

    def oldest(self) -> tuple[int, bytes] | None:
        """Return the oldest chunk and its position."""
        ...

    def remove(self, position: int) -> None:
        """Forget a chunk."""
        ...

    def note_lost(self, samples: int) -> None:
        """Count samples that never got here."""
        ...

    def totals(self) -> tuple[int, int]:
        """Return how many samples wait, and how many were ever lost."""
        ...

    def close(self) -> None:
        """Free the file."""
        ...


class Buffer:
    """Samples in memory, in order, bounded; what had to go is counted."""

    def __init__(self, samples_max: int = BUFFER_SAMPLES_MAX) -> None:
        self._max = samples_max
        self._samples: list[Sample] = []
        self._lost = 0
        self._gone = 0

    def __len__(self) -> int:
        """Return how many samples wait."""
        return len(self._samples)

    def add(self, samples: Sequence[Sample]) -> None:
        """Take samples; the oldest go when there is no room."""
        self._samples += samples
        excess = len(self._samples) - self._max
        if excess > 0:
            self.drop_to(self._gone + excess)
            self._lost += excess

    def mark(self) -> int:
        """Return a place behind the newest, for `drop_to`; places count all that ever came."""
        return self._gone + len(self._samples)

    def drop_to(self, mark: int) -> None:
        """Forget what came before a place."""
        count = max(0, mark - self._gone)
        del self._samples[:count]
        self._gone += count

    def drain(self) -> list[Sample]:
        """Return all and be empty."""
        drained, self._samples = self._samples, []
        self._gone += len(drained)
        return drained

    def put_back(self, samples: Sequence[Sample]) -> None:
        """Take back what was drained, before all that came since; without room the oldest go."""
        later = self.drain()
        self.add(samples)
        self.add(later)

    def lost(self) -> int:
        """Return how many had to go since the last call."""
        lost, self._lost = self._lost, 0
        return lost


def chunks(samples: Sequence[Sample]) -> Iterator[Chunk]:
    """Yield samples as rows for the disk."""
    for first in range(0, len(samples), CHUNK_SAMPLES):
        part = samples[first : first + CHUNK_SAMPLES]
        yield Chunk(len(part), _ENCODER.encode(part))


def samples_of(body: bytes) -> list[Sample]:
    """Return a row's samples.

    Raises:
        InvalidValueError: it is none of ours: another version's, or damaged.

    """
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidValueError(f"backfill: a row that cannot be read: {error}") from error
