"""The latch: the set of stops and out-of-service marks with their clears, merged by union (EST-2, EST-6).

Copies of it live in every gate, every safety actor, the API, the latch folder and the database. They are
merged wherever they meet, in any order and any number of times, so the merge is a join: commutative,
associative, idempotent. No stop and no clear can be lost by it, and where two copies contradict each other,
the more cautious reading wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Final

import msgspec

from actors.vocabulary import Scope
from actors.vocabulary.records import StopEventRecord
from actors.vocabulary.stops import EMERGENCY_STOP as EMERGENCY_STOP  # noqa: PLC0414  (part of this law)
from actors.vocabulary.stops import OUT_OF_SERVICE as OUT_OF_SERVICE  # noqa: PLC0414
from actors.vocabulary.stops import is_cleared as is_cleared  # noqa: PLC0414
from actors.vocabulary.stops import joined

# More pumps than any process has gates for.
_KEPT_MAX: Final = 4_096


@dataclass(frozen=True, eq=False)
class LatchSet:
    """All stops known here, cleared ones included; immutable. `merge` returns itself if nothing changed."""

    by_id: Mapping[str, StopEventRecord] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, records: Iterable[StopEventRecord]) -> LatchSet:
        """Return the set of these records."""
        return cls().merge(records)

    def merge(self, records: Iterable[StopEventRecord]) -> LatchSet:
        """Return the union. A clear that is met before the bare stop stays when the stop arrives."""
        merged = dict(self.by_id)
        for record in records:
            known = merged.get(record.record_id)
            merged[record.record_id] = _normal(record) if known is None else joined(known, _normal(record))
        if merged == self.by_id:
            return self
        return LatchSet(MappingProxyType(merged))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LatchSet) and dict(self.by_id) == dict(other.by_id)

    def __hash__(self) -> int:
        return hash(frozenset(self.by_id))

    def __reduce__(self) -> tuple[object, tuple[tuple[StopEventRecord, ...]]]:
        return (LatchSet.of, (self.records,))

    @cached_property
    def records(self) -> tuple[StopEventRecord, ...]:
        """Every record, ordered by id."""
        return tuple(self.by_id[record_id] for record_id in sorted(self.by_id))

    @cached_property
    def _by_scope(self) -> Mapping[tuple[Scope, str], tuple[StopEventRecord, ...]]:
        index: dict[tuple[Scope, str], list[StopEventRecord]] = {}
        for record in self.records:
            index.setdefault(_scope_key(record.scope, record.scope_id), []).append(record)
        return {key: tuple(found) for key, found in index.items()}

    # Gates ask for each pump ten times a second, and a set never changes: what was asked is kept.
    @cached_property
    def _covering(self) -> dict[tuple[str, str, str, str | None], tuple[StopEventRecord, ...]]:
        return {}

    @cached_property
    def _releases(self) -> dict[tuple[str, str, str], int]:
        return {}

    def active(self, kind: str | None = None) -> tuple[StopEventRecord, ...]:
        """Return what is not cleared, of one kind or of all, ordered by id."""
        return tuple(
            record for record in self.records if not is_cleared(record) and kind in {None, record.kind}
        )

    def covering(
        self, site_id: str, station_id: str, pump_id: str, kind: str | None = None
    ) -> tuple[StopEventRecord, ...]:
        """Return what is not cleared and covers the pump, of one kind or of all."""
        asked = (site_id, station_id, pump_id, kind)
        found = self._covering.get(asked)
        if found is None:
            if len(self._covering) >= _KEPT_MAX:
                self._covering.clear()
            found = self._covering[asked] = tuple(
                record
                for record in self._of_pump(site_id, station_id, pump_id)
                if not is_cleared(record) and kind in {None, record.kind}
            )
        return found

    def inhibited(self, site_id: str, station_id: str, pump_id: str) -> bool:
        """Return the pump's `run_inhibit`: any stop or out-of-service mark covers it (EST-6)."""
        return bool(self.covering(site_id, station_id, pump_id))

    def release_id(self, site_id: str, station_id: str, pump_id: str) -> int:
        """Return the pump's release number (uint32 on the wire): that of the newest clear by a person, 0 without one.

        It rises only when the last inhibit of the pump is cleared: while one is active, a clear counts only
        if it was issued before that one was set: clearing one of two overlapping stops releases nothing. It is never
        made up: after a loss of all that is known here it is 0 until somebody clears a stop, and that clear's number
        is above everything given before, because the counter begins anew at the UTC second (`LatchStore.next_stamp`).
        """
        asked = (site_id, station_id, pump_id)
        if asked not in self._releases:
            if len(self._releases) >= _KEPT_MAX:
                self._releases.clear()
            self._releases[asked] = self._release_id(*asked)
        return self._releases[asked]

    def _release_id(self, site_id: str, station_id: str, pump_id: str) -> int:
        concerned = self._of_pump(site_id, station_id, pump_id)
        active_stamps = [record.set_stamp for record in concerned if not is_cleared(record)]
        releases = [
            record.release for record in concerned if is_cleared(record) and record.release is not None
        ]
        if active_stamps:
            earliest = min(active_stamps)
            releases = [release for release in releases if release <= earliest]
        return max([0, *releases])

    def stops_of_scope(self, scope: Scope, scope_id: str) -> tuple[StopEventRecord, ...]:
        """Return the active emergency stops of just this scope: its coil written again is these (EST-5)."""
        found = self._by_scope.get(_scope_key(scope, scope_id), ()) if self.by_id else ()
        return tuple(record for record in found if not is_cleared(record) and record.kind == EMERGENCY_STOP)

    def _of_pump(self, site_id: str, station_id: str, pump_id: str) -> tuple[StopEventRecord, ...]:
        """Return everything, cleared or not, whose scope covers the pump."""
        index = self._by_scope
        if not index:
            return ()
        return (
            *index.get(_scope_key(Scope.SYSTEM, ""), ()),
            *index.get(_scope_key(Scope.SITE, site_id), ()),
            *index.get(_scope_key(Scope.STATION, station_id), ()),
            *index.get(_scope_key(Scope.PUMP, pump_id), ()),
        )


def cleared(record: StopEventRecord, *, by: str, at: datetime, reason: str, release: int) -> StopEventRecord:
    """Return the record with a clear added; an earlier one stays. `release` is the store's `next_stamp()`."""
    if is_cleared(record):
        return record
    return msgspec.structs.replace(record, cleared_by=by, cleared_at=at, clear_reason=reason, release=release)


def covers(record: StopEventRecord, site_id: str, station_id: str, pump_id: str) -> bool:
    """Return whether the record's scope covers the pump, cleared or not."""
    pump_scopes = {
        _scope_key(Scope.SYSTEM, ""),
        _scope_key(Scope.SITE, site_id),
        _scope_key(Scope.STATION, station_id),
        _scope_key(Scope.PUMP, pump_id),
    }
    return _scope_key(record.scope, record.scope_id) in pump_scopes


def _scope_key(scope: Scope, scope_id: str) -> tuple[Scope, str]:
    """Name a scope: SYSTEM has one name whatever its id; ids are lower case by definition."""
    return (scope, "" if scope is Scope.SYSTEM else scope_id.lower())


def _normal(record: StopEventRecord) -> StopEventRecord:
    """Return the record as the set keeps it: an unknown kind stops, half a clear is none."""
    kind = OUT_OF_SERVICE if record.kind == OUT_OF_SERVICE else EMERGENCY_STOP
    scope, scope_id = _scope_key(record.scope, record.scope_id)
    if is_cleared(record):
        return msgspec.structs.replace(record, kind=kind, scope=scope, scope_id=scope_id)
    return msgspec.structs.replace(
        record,
        kind=kind,
        scope=scope,
        scope_id=scope_id,
        cleared_by=None,
        cleared_at=None,
        clear_reason=None,
        release=None,
    )
