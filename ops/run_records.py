"""What the audit trail hears of a run: that it began, after what, with which settings, and that it ended (AUD-2).

`<data-dir>/audit/last_run.json` remembers the last run: one that never said that it ended was killed, or lost power.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

import msgspec

from actors.vocabulary import Settings
from actors.vocabulary.audit_events import EVENT_TYPES
from actors.vocabulary.records import AuditRecord
from ops.audit_trail import COMMAND_LINE, folder_of, user_name
from storage.audit import utc_text
from storage.files import read_struct, write_whole
from storage.masking import masked

LAST_RUN_FILE: Final = "last_run.json"


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a run; the settings without their secrets, by dotted key."""

    run_id: str
    began_at: str
    settings: dict[str, Any]
    ended_at: str = ""


class RunRecords:
    """One run's records, from its beginning to its end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = folder_of(settings) / LAST_RUN_FILE
        self._run = LastRun(run_id=str(uuid.uuid4()), began_at="", settings=flat(masked(settings)))

    @property
    def has_begun(self) -> bool:
        """Whether this run is remembered: one that is not has no end either."""
        return self._run.began_at != ""

    def began(self, at: datetime) -> tuple[AuditRecord, ...]:
        """Remember this run, and return what its beginning tells, the end of the one before included.

        Raises:
            DeviceError: the disk refused.

        """
        before = read_struct(self._path, LastRun)
        self._run = msgspec.structs.replace(self._run, began_at=utc_text(at))
        self._remember(self._run)
        records = []
        if before is not None and not before.ended_at:
            told = {"began_at": before.began_at, "found_at": utc_text(at)}
            records.append(
                self._record("CALEJO_ENDED_UNNOTICED", at, before.run_id, after=told, outcome="unknown")
            )
        what = {"version": version("calejo"), "pid": os.getpid(), "data_dir": self._settings.data_dir}
        records.append(self._record("CALEJO_STARTED", at, self._run.run_id, after=what))
        if before is not None and before.settings != self._run.settings:
            old, new = before.settings, self._run.settings
            keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
            records.append(
                self._record(
                    "SETTINGS_CHANGED",
                    at,
                    self._run.run_id,
                    before={key: old.get(key) for key in keys},
                    after={key: new.get(key) for key in keys},
                )
            )
        return tuple(records)

    def ended(self, at: datetime, *, why: str) -> AuditRecord:
        """Remember that this run ended in order, and return what tells so; `why` is '' or what went wrong.

        Raises:
            DeviceError: the disk refused.

        """
        self._remember(msgspec.structs.replace(self._run, ended_at=utc_text(at)))
        return self._record(
            "CALEJO_STOPPED", at, self._run.run_id, outcome=f"failed: {why}" if why else "success"
        )

    def _remember(self, run: LastRun) -> None:
        write_whole(self._path, msgspec.json.encode(run))

    def _record(
        self,
        event_type: str,
        at: datetime,
        run_id: str,
        *,
        outcome: str = "success",
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> AuditRecord:
        return AuditRecord(
            record_id=f"{run_id}:{event_type.lower()}",
            at=at,
            event_type=event_type,
            actor=user_name(),
            source_address=COMMAND_LINE,
            object_id="calejo",
            outcome=outcome,
            severity=EVENT_TYPES[event_type].severity,
            before=before,
            after=after,
            correlation_id=run_id,
        )


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted key."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
