"""What the latch folder and the database owe each other, and which clears nobody needs any longer; pure (EST-2, EST-6).

Both are copies of one set that grows by union. An uncleared stop is kept in both for ever. A cleared one stays in the
database for ever, and in the folder as long as it may still matter there: a while for copies that have not heard of the
clear, and for good where a pump's release number comes from it. Who still holds a forgotten stop without its clear gets
the clear from the database when it asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

import msgspec

from actors.safety.latch import LatchSet, is_cleared
from actors.vocabulary import Scope
from actors.vocabulary.records import StopEventRecord

JOIN_PERIOD_S: Final = 10.0
JOIN_RETRY_S: Final = 1.0
assert JOIN_RETRY_S < JOIN_PERIOD_S

# Every living copy on this machine has heard of a clear after a second; a week covers a machine that was off.
KEPT_FOR: Final = timedelta(days=7)
KEPT_MAX: Final = 1_000
# The folder's name for a stop that stands for an unreadable file: forgetting its clear would bring it back.
UNREADABLE_PREFIX: Final = "unreadable:"

# A record and whether it is its clear that is meant.
Piece: TypeAlias = tuple[str, bool]


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """The union of both copies and what follows; `missing` is what the database lacks, at this look."""

    union: LatchSet
    needed: LatchSet
    to_folder: tuple[StopEventRecord, ...]
    to_database: tuple[StopEventRecord, ...]
    to_drop: tuple[str, ...]
    missing: frozenset[Piece]


def join(
    folder: Iterable[StopEventRecord],
    database: Iterable[StopEventRecord],
    *,
    missing_before: frozenset[Piece],
    now: datetime,
) -> Joined:
    """Return what each copy lacks. `missing_before` is `missing` of the look before.

    To the database goes only what was missing at two looks in a row: usually it is on its way already, with an audit
    record that knows more than the folder does.
    """
    here, there = LatchSet.of(folder), LatchSet.of(database)
    union = here.merge(there.records)
    kept = needed(union, now=now)
    missing = frozenset(
        _piece(record) for record in union.records if _lacks(there.by_id.get(record.record_id), record)
    )
    return Joined(
        union=union,
        needed=kept,
        to_folder=tuple(record for record in kept.records if here.by_id.get(record.record_id) != record),
        to_database=tuple(record for record in union.records if _piece(record) in missing & missing_before),
        to_drop=tuple(
            record_id
            for record_id in here.by_id
            if record_id not in kept.by_id
            and record_id in there.by_id
            and is_cleared(there.by_id[record_id])
            and not record_id.startswith(UNREADABLE_PREFIX)
        ),
        missing=missing,
    )


def needed(latches: LatchSet, *, now: datetime) -> LatchSet:
    """Return the records without which some copy would show something else: no pump's `release_id` changes.

    That is every uncleared one; what was cleared in the last week (at most the newest 1,000); and of each scope the
    cleared ones with the highest release of all and below the stamp of each uncleared one, because a pump's
    release_id is one of these (`LatchSet.release_id`).
    """
    active = latches.active()
    recent = sorted(
        (
            record
            for record in latches.records
            if is_cleared(record) and _cleared_at(record) >= now - KEPT_FOR
        ),
        key=lambda record: (_cleared_at(record), record.record_id),
    )[-KEPT_MAX:]
    return LatchSet.of([*active, *recent, *_release_bearers(latches, active)])


def _release_bearers(latches: LatchSet, active: tuple[StopEventRecord, ...]) -> Iterable[StopEventRecord]:
    of_scope: dict[tuple[Scope, str], list[tuple[int, StopEventRecord]]] = {}
    for record in latches.records:
        if is_cleared(record) and record.release is not None:
            of_scope.setdefault((record.scope, record.scope_id), []).append((record.release, record))
    stamps = sorted({record.set_stamp for record in active})
    for released in of_scope.values():
        released.sort(key=lambda entry: (entry[0], entry[1].record_id))
        yield released[-1][1]
        below = None
        rest = iter(released)
        upcoming = next(rest, None)
        for stamp in stamps:
            while upcoming is not None and upcoming[0] <= stamp:
                below, upcoming = upcoming, next(rest, None)
            if below is not None:
                yield below[1]


def answer(joined: Joined, held: Iterable[str]) -> tuple[StopEventRecord, ...]:
    """Return what a copy has to know that holds `held` uncleared: what is needed, and what became of those."""
    asked = (joined.union.by_id[record_id] for record_id in held if record_id in joined.union.by_id)
    return joined.needed.merge(asked).records


def _cleared_at(record: StopEventRecord) -> datetime:
    at = record.cleared_at
    assert at is not None, "only a cleared record is asked"
    # A file of somebody else's may lack the offset; it must not end this actor.
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _piece(record: StopEventRecord) -> Piece:
    return record.record_id, is_cleared(record)


def _lacks(stored: StopEventRecord | None, record: StopEventRecord) -> bool:
    return stored is None or (is_cleared(record) and not is_cleared(stored))
