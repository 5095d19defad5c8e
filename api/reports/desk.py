"""Makes one report at a time for REST: bounded rows, and what a look at the trail's end says beside them (AUD-3)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from actors.stores import AuditReader
from actors.vocabulary import UnavailableError, UnknownSubjectError
from actors.vocabulary.audit_trail import AuditWindow
from api.access.errors import TooManyError
from api.reports.report import Report, gathered

ROWS_MAX: Final = 5_000
"""Records in one report by REST; `calejo audit report` has four times as many."""
VERIFY_MAX: Final = 10_000
"""Records at the trail's end that are verified for it."""
_RETRY_AFTER_S: Final = 5.0


class ReportDesk:
    """Whoever asks while one is being made is told to come again: a report costs more than any other answer."""

    def __init__(self) -> None:
        self._is_busy = False

    def __enter__(self) -> None:
        """Begin one.

        Raises:
            TooManyError: another one is being made.

        """
        if self._is_busy:
            raise TooManyError("reports: one is being made, and they are made one at a time", _RETRY_AFTER_S)
        self._is_busy = True

    def __exit__(self, *_: object) -> None:
        self._is_busy = False


async def made(
    reader: AuditReader, kind: str, *, since: datetime | None, until: datetime | None, now: datetime
) -> Report:
    """Read one report.

    Raises:
        DeviceError: database or disk refused.

    """
    window, after = await _looked_at(reader)
    return await gathered(
        reader,
        kind,
        since=since,
        until=until,
        made_at=now,
        proof=_told(window, after),
        rows_max=ROWS_MAX,
        lacks=_not_here(window),
    )


def _not_here(window: AuditWindow) -> list[str]:
    """Return what is not in the database any more: only the command line sees segments."""
    if not window.archived:
        return []
    return [f"records 1 to {window.archived} are archived (calejo audit report --segments FOLDER)"]


async def _looked_at(reader: AuditReader) -> tuple[AuditWindow, int]:
    """Verify the end of the trail; return what was found and behind which record it began."""
    first = await reader.verify(after=0, count_max=1)
    after = max(first.archived, first.total - VERIFY_MAX)
    try:
        window = await reader.verify(after=after, count_max=VERIFY_MAX)
    except UnknownSubjectError as error:
        # Not the asker's fault: more was archived between the two questions.
        raise UnavailableError(f"the trail changed while it was looked at: {error}") from None
    # A window that begins behind the archive knows of none.
    return msgspec.structs.replace(window, archived=first.archived), after


def _told(window: AuditWindow, after: int) -> str:
    """Return one sentence; whatever is not proved stands in it."""
    said = [f"records {window.first} to {window.count} hold, {window.checkpoints_met} checkpoints are met"]
    if not window.holds:
        said = [
            "BROKEN" if window.broken_at is None else f"BROKEN at record {window.broken_at}: {window.reason}"
        ]
        said += window.complaints
    if after:
        said.append(f"NOT PROVED here: records 1 to {after} (calejo audit verify)")
    return "; ".join(said)
