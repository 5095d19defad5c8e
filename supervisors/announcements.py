"""What a supervisor tells others about its children: alarms, and to safety which scope has failed (SUP-5)."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.messages import AlarmAsserted, AlarmReturned, ScopeFailed
from actors.runtime import Ports
from actors.vocabulary import Address, Instant, Reason, Role, Scope, Severity
from actors.vocabulary.ids import ALARM, station_part_address
from supervisors.spec import ChildSpec

# The alarm actor forgets what is not asserted again within 15 s; tells may be lost on the way.
_AGAIN_S: Final = 5.0
# After a restart a child that runs this long counts as well again.
_WELL_AFTER_S: Final = 60.0
# "Holds no longer" has nobody to repeat it later, so it is said more than once.
_RETURN_TIMES: Final = 3

QUARANTINED: Final = "child_quarantined"
RESTARTED: Final = "child_restarted"
UNWATCHED: Final = "site_unwatched"


class _Standing(msgspec.Struct, kw_only=True):
    spec: ChildSpec
    condition: str
    text: str
    severity: Severity
    since: Instant
    active: bool = True
    left: int = _RETURN_TIMES


class Announcements:
    """Says what stands, again and again, because tells may be lost."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._standing: dict[tuple[str, Address], _Standing] = {}
        self._said_at: Instant | None = None

    def failed(self, spec: ChildSpec, text: str) -> None:
        """A child failed and is being restarted."""
        self._stand(RESTARTED, spec, text, Severity.LOW)

    def quarantined(self, spec: ChildSpec, text: str) -> None:
        """A child is tried no more."""
        self._stand(QUARANTINED, spec, text, Severity.HIGH)

    def unwatched(self, spec: ChildSpec, text: str) -> None:
        """A site supervisor does not come back; it is tried on, with nobody below it any more."""
        self._stand(UNWATCHED, spec, text, Severity.HIGH)

    def started(self, spec: ChildSpec) -> None:
        """A child runs again: it is in quarantine no longer, and watches its own."""
        for condition in (QUARANTINED, UNWATCHED):
            standing = self._standing.get((condition, spec.address))
            if standing is not None:
                standing.active = False
                self._say(standing)

    def safety_started(self, spec: ChildSpec) -> None:
        """A new safety actor knows of no failed scope yet: tell it those of its station."""
        for standing in self._standing.values():
            same = standing.spec.start.station_id == spec.start.station_id
            if standing.condition == QUARANTINED and same:
                self._say(standing)

    def gone(self, address: Address) -> None:
        """A child is no longer in the tree: nothing stands against it."""
        for condition in (QUARANTINED, RESTARTED, UNWATCHED):
            standing = self._standing.get((condition, address))
            if standing is not None:
                standing.active = False

    def beat(self) -> None:
        """Say what stands, at most every 5 s."""
        now = self._ports.clock.now()
        if self._said_at is not None and now.seconds_since(self._said_at) < _AGAIN_S:
            return
        self._said_at = now
        for key, standing in tuple(self._standing.items()):
            old = now.seconds_since(standing.since) >= _WELL_AFTER_S
            if standing.condition == RESTARTED and old:
                standing.active = False
            self._say(standing)
            if not standing.active:
                standing.left -= 1
                if standing.left <= 0:
                    del self._standing[key]

    def _stand(self, condition: str, spec: ChildSpec, text: str, severity: Severity) -> None:
        standing = _Standing(
            spec=spec, condition=condition, text=text, severity=severity, since=self._ports.clock.now()
        )
        self._standing[condition, spec.address] = standing
        self._say(standing)

    def _say(self, standing: _Standing) -> None:
        now = self._ports.clock.now()
        subject = str(standing.spec.address)
        if standing.active:
            news: AlarmAsserted | AlarmReturned = AlarmAsserted(
                condition=standing.condition,
                subject=subject,
                severity=standing.severity,
                text=standing.text,
                at=now,
            )
        else:
            news = AlarmReturned(condition=standing.condition, subject=subject, at=now)
        self._ports.directory.ref(ALARM).tell(news)
        if standing.condition == QUARANTINED:
            self._tell_safety(standing)

    def _tell_safety(self, standing: _Standing) -> None:
        start = standing.spec.start
        if start.site is None or start.station_id is None:
            return
        if start.role is Role.PUMP and start.pump_id is not None:
            scope, scope_id = Scope.PUMP, start.pump_id
        elif start.role in {Role.PLAN, Role.STATION}:
            scope, scope_id = Scope.STATION, start.station_id
        else:
            return  # a quarantined safety has nobody to tell: its station's leases run out
        safety = station_part_address(start.site.site_id, start.station_id, Role.SAFETY.value)
        self._ports.directory.ref(safety).tell(
            ScopeFailed(
                child=start.address,
                scope=scope,
                scope_id=scope_id,
                active=standing.active,
                reason=Reason.FAILSAFE_CHILD_QUARANTINED,
                detail=f"{start.address}: {standing.text}",
            )
        )
