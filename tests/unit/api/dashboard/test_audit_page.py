"""The view of the audit trail over a real trail: what was archived is neither broken nor said to hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.vocabulary import UnknownSubjectError
from actors.vocabulary.access import UserRole
from actors.vocabulary.audit_trail import AuditPage, AuditQuery, AuditWindow
from ops.audit_trail import folder_of
from storage.audit_desk import AuditDesk
from storage.audit_reader import AuditBook
from storage.engine import Access, Database, real_chance
from storage.urls import sqlite_url
from tests.browser.plant import Plant
from tests.browser.watching import Watched
from tests.unit.api.dashboard.test_pages import look
from tests.unit.ops.audit.trail import Trail


@contextmanager
def watched(trail: Trail, folder: Path) -> Iterator[Watched]:
    url = sqlite_url(trail.database)
    database = Database(url, Access.READ, settings=trail.settings.database, chance=real_chance())
    desk = AuditDesk(folder_of(trail.settings), AuditBook(database))
    with Watched(Plant(), folder, audit=desk) as running:
        try:
            yield running
        finally:
            running.api.on_loop(database.close())


@pytest.mark.parametrize(
    ("records", "archived", "shown"),
    [
        (12, 4, "Records 5 to 12 of 12 hold, against 1 signed checkpoints."),
        (12_000, 11_000, "Records 11001 to 12000 of 12000 hold, against 1 signed checkpoints."),
        (12_000, 1_000, "Records 2001 to 12000 of 12000 hold, against 1 signed checkpoints."),
        (12, 0, "Records 1 to 12 of 12 hold, against 1 signed checkpoints."),
    ],
)
def test_archived_records_are_named_and_the_others_verified(
    tmp_path: Path, records: int, archived: int, shown: str
) -> None:
    """AUD-1, AUD-3: the newest window begins behind the last segment; what lies in segments is said, not judged."""
    trail = Trail(tmp_path / "trail")
    trail.write(records)
    assert trail.sign() == ""
    if archived:
        trail.note_segment(archived)
    with watched(trail, tmp_path / "api") as running:
        answer = look(running, "/audit")
    page = answer.raw.decode()
    assert answer.status == 200
    assert shown in page
    assert (f"Records 1 to {archived} are archived." in page) is bool(archived)
    assert "BROKEN" not in page
    assert f'id="record-{records}"' in page, "the records themselves are shown"


def test_a_trail_that_was_changed_behind_its_segments_is_broken(tmp_path: Path) -> None:
    """AUD-1: an archive excuses nothing that stands in the database."""
    trail = Trail(tmp_path / "trail")
    trail.write(12)
    assert trail.sign() == ""
    trail.note_segment(4)
    trail.execute("DROP TRIGGER audit_log_no_update", "UPDATE audit_log SET actor = 'x' WHERE sequence = 7")
    with watched(trail, tmp_path / "api") as running:
        page = look(running, "/audit").raw.decode()
    assert "BROKEN at record 7" in page
    assert "Records 1 to 4 are archived." in page


def test_a_trail_cut_off_behind_its_segments_does_not_hold(tmp_path: Path) -> None:
    """AUD-1: no record is broken where the end is missing, and no dash stands for its number."""
    trail = Trail(tmp_path / "trail")
    trail.write(12)
    assert trail.sign() == ""
    trail.note_segment(4)
    trail.execute("DROP TRIGGER audit_log_no_delete", "DELETE FROM audit_log WHERE sequence > 9")
    with watched(trail, tmp_path / "api") as running:
        page = look(running, "/audit").raw.decode()
    assert "does NOT hold against its checkpoints" in page
    assert "cut off" in page
    assert "BROKEN at record" not in page


class _ArchivedMeanwhile:
    """A trail from which the window's beginning is archived between two questions."""

    async def search(self, query: AuditQuery) -> AuditPage:
        del query
        return AuditPage(records=(), next_before=None)

    async def verify(self, *, after: int, count_max: int) -> AuditWindow:
        if after:
            raise UnknownSubjectError(f"after: there is no record {after}")
        return AuditWindow(
            holds=True, first=1, count=count_max, head="0" * 64, total=25_000, broken_at=None, reason="",
            complaints=(), checkpoints_met=0, next_after=None,
        )  # fmt: skip


def test_an_archive_between_two_questions_takes_no_page_away(tmp_path: Path) -> None:
    """HMI-2: the view says that it could not verify, and is there."""
    with Watched(Plant(), tmp_path, audit=_ArchivedMeanwhile()) as running:
        answer = look(running, "/audit", UserRole.ADMINISTRATOR)
    assert answer.status == 200
    assert "changed while it was looked at" in answer.raw.decode()
