"""What commands did and no trail has heard yet: kept on disk, told with the next command or run (AUD-2, AUD-4).

`calejo certs init` comes before the first run makes a database, and a signing key is rotated also while the database is
away: each such record waits as a file of its own in `<data-dir>/audit/untold/`. Told twice, the trail keeps it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy.engine import make_url

from actors.vocabulary import CalejoError, DeviceError, Settings
from actors.vocabulary.records import AuditRecord
from ops.audit_trail import FOLDER, append
from ops.database import database_urls
from storage.files import read_struct, write_whole

UNTOLD: Final = "untold"
KEPT_MAX: Final = 1_000


class Untold:
    """The folder of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER / UNTOLD

    def records(self) -> tuple[AuditRecord, ...]:
        """Return what is kept, the oldest first.

        Raises:
            DeviceError: the disk refused.

        """
        kept = (read_struct(path, AuditRecord) for path in self._paths())
        return tuple(sorted((each for each in kept if each is not None), key=lambda each: each.at))

    def keep(self, records: Iterable[AuditRecord]) -> None:
        """Keep records until somebody tells them.

        Raises:
            DeviceError: the disk refused, or so many are kept that somebody has to look first.

        """
        room = KEPT_MAX - len(self._paths())
        for record in records:
            if room <= 0:
                raise DeviceError(f"{self._folder}: {KEPT_MAX} records wait for a trail already")
            if write_whole(self._path(record), msgspec.json.encode(record), replace=False):
                room -= 1

    def told(self, records: Iterable[AuditRecord]) -> None:
        """Forget what stands in the trail now.

        Raises:
            DeviceError: the disk refused; they are told again, and kept once.

        """
        try:
            for record in records:
                self._path(record).unlink(missing_ok=True)
        except OSError as error:
            raise DeviceError(f"{self._folder}: {error.strerror}") from error

    def _path(self, record: AuditRecord) -> Path:
        return self._folder / f"{record.record_id.replace(':', '_')}.json"

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))


def tell(settings: Settings, *records: AuditRecord) -> str:
    """Have the trail hear of what a command did; return what to say of it if it could not, '' if there is none yet.

    What it tells of is done and stays done: nothing here raises.
    """
    untold = Untold(Path(settings.data_dir))
    try:
        if _is_there(settings):
            before = untold.records()
            asyncio.run(append(settings, (*before, *records)))
            untold.told(before)
            return ""
        untold.keep(records)
    except CalejoError as error:
        return _kept(untold, records, error)
    return ""


def _kept(untold: Untold, records: tuple[AuditRecord, ...], why: CalejoError) -> str:
    try:
        untold.keep(records)
    except DeviceError as error:
        return f"not in the audit trail: {why}; and not kept for it: {error}"
    return f"not in the audit trail yet (kept for it): {why}"


def _is_there(settings: Settings) -> bool:
    """Say whether there is a database: one that only opening it would make has no trail."""
    url = make_url(database_urls(settings).writer)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()
