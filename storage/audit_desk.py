"""The audit trail as the API reads it: windows that are verified and read within a request's time (AUD-1, AUD-3)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.vocabulary import UnknownSubjectError
from actors.vocabulary.audit_trail import (
    AuditPage,
    AuditQuery,
    AuditWindow,
    SignedCheckpoint,
    SignedKey,
)
from storage.audit_keys import KeyFolder
from storage.audit_reader import AuditBook
from storage.checkpoints import Ledger, read_checkpoints


class AuditDesk:
    """Reads database and `<data-dir>/audit`; writes neither."""

    def __init__(self, folder: Path, book: AuditBook) -> None:
        self._folder = folder
        self._book = book
        self._ledger = Ledger(folder)

    async def search(self, query: AuditQuery) -> AuditPage:
        """Return the newest records that fit, a page of at most 1,000.

        Raises:
            DeviceError: the database is away or slow.

        """
        return await self._book.search(query)

    async def verify(self, *, after: int, count_max: int) -> AuditWindow:
        """Verify at most `count_max` records behind record `after`, against every checkpoint among them.

        Raises:
            UnknownSubjectError: there is no record `after`.
            DeviceError: database or disk refused.

        """
        segments = await self._book.segments()
        archived = segments[-1].last_sequence if after == 0 and segments else 0
        after = after or archived
        if await self._book.hash_at(after) is None:
            raise UnknownSubjectError(f"after: there is no record {after}")
        held = await asyncio.to_thread(self._ledger.read)
        good, wrong = held.known, held.wrong
        total, _ = await self._book.tail()
        until = min(after + count_max, total) if total > after else None
        is_end = until is None or until >= total
        known = [each for each in good if each.count >= after]
        # The last window is held also against what was signed over records that are not there any more.
        found = await self._book.verify(known, after=after, until=None if is_end else until)
        complaints = (*((wrong,) if wrong else ()), *found.complaints)
        if archived:
            unseen = f"records 1 to {archived} are archived: their segments are not seen here (calejo audit verify)"
            complaints = (*complaints, unseen)
        chain = found.chain
        holds = found.holds and not wrong and not archived
        return AuditWindow(
            holds=holds,
            first=chain.first,
            count=chain.count,
            head=chain.head,
            total=max(total, chain.count),
            broken_at=chain.broken_at,
            reason=chain.reason,
            complaints=complaints,
            checkpoints_met=found.checkpoints_met,
            next_after=None if is_end or chain.broken_at is not None else chain.count,
            archived=archived,
        )

    async def records(self, *, after: int, count_max: int) -> Sequence[Mapping[str, Any]]:
        """Return at most `count_max` records behind `after`, oldest first.

        Raises:
            DeviceError: the database is away or slow.

        """
        async for rows in self._book.pages(after=after, page=count_max):
            return rows
        return ()

    async def checkpoints(self) -> Sequence[SignedCheckpoint]:
        """Return the signed checkpoints of this machine.

        Raises:
            DeviceError: the disk refused.

        """
        return await asyncio.to_thread(read_checkpoints, self._folder)

    async def keys(self) -> Sequence[SignedKey]:
        """Return every public key.

        Raises:
            DeviceError: the disk refused.

        """
        return await asyncio.to_thread(KeyFolder(self._folder).keys)
