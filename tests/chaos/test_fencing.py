"""A safety actor that was replaced while it hung comes back to life: nothing that it says reaches the wire."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.messages import EndpointStatus, GetEndpoint, GetStationDecisions, StationDecisions
from actors.start import WorkerStart
from actors.vocabulary import CalejoError, Role, Settings
from actors.vocabulary.ids import STORAGE, endpoint_address, site_address
from actors.vocabulary.settings import SETPOINT_LEASE_S, PortSettings
from ops import opcua_access
from ops.demo.catalogue import demo_site
from ops.ports import free_ports
from storage.schema import upgrade
from storage.urls import sqlite_url
from supervisors.on_ray.session import RaySession
from supervisors.runtime import StartOrder
from tests.chaos.fencing_tree import SITE_ID, STATION_ID, SUCCESSOR, VICTIM
from tests.chaos.figures import keep
from tests.chaos.sql import Sql
from tests.chaos.test_kills import HANG_BACK_WITHIN_S, IN_FLIGHT_S
from tests.chaos.truth import plant_at, utc_now
from tests.chaos.wire_log import RATE_HZ_MIN, Place, WireLog, heartbeats, lapses
from tests.program import until
from tests.shared_ray import beside

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]
# The wire's map as `calejo tags` documents it; there is no API here to ask.
BLOCK_BASE, BLOCK_STEP = 100, 50


class Site:
    """One station's real tree in a namespace of its own, driven by a test."""

    def __init__(self, session: RaySession, settings: Settings, sql: Sql) -> None:
        self.session, self.settings, self.sql = session, settings, sql
        self.loop = asyncio.new_event_loop()
        self.runtime = self.loop.run_until_complete(self._runtime())

    async def _runtime(self) -> Any:
        return self.session.runtime()

    def start(self) -> None:
        start = WorkerStart(
            role=Role.SUPERVISOR,
            address=site_address(SITE_ID),
            settings=self.settings,
            site=demo_site().only(STATION_ID),
        )
        # Whoever has no stop on file asks the storage actor for those of the database before anything is enabled.
        storage = WorkerStart(role=Role.STORAGE, address=STORAGE, settings=self.settings)
        for each in (storage, start):
            self.loop.run_until_complete(self.runtime.start(StartOrder(start=each), deadline_s=30.0))

    def end(self) -> None:
        """End everybody, supervisors first: they would start the others again."""
        living = self.loop.run_until_complete(self.runtime.living())
        for address in sorted(living, key=len):
            self.loop.run_until_complete(self.runtime.kill_address(address))
        self.loop.close()

    def pid(self, address: Any) -> int | None:
        found = self.loop.run_until_complete(self.runtime.adopt(address, deadline_s=2.0))
        return None if found is None else found[1].pid

    def ask(self, address: Any, message: object) -> Any:
        """Return the answer, None when there is none in time."""
        try:
            ref = self.runtime.directory.ref(address)
            return self.loop.run_until_complete(ref.ask(message, deadline_s=2.0))
        except CalejoError:
            return None

    def refused_epochs(self) -> dict[str, int]:
        """Return how many setpoints of an older epoch each gate has refused, by endpoint and pump."""
        counts: dict[str, int] = {}
        for protocol in ("modbus", "opcua"):
            status = self.ask(endpoint_address(SITE_ID, protocol), GetEndpoint())
            assert isinstance(status, EndpointStatus), f"{protocol} does not answer"
            counts |= {f"{protocol} {pump.pump_id}": pump.refused.get("epoch", 0) for pump in status.pumps}
        return counts

    def places(self) -> tuple[Place, ...]:
        rows = self.sql.run(
            "SELECT p.station_id, p.pump_id, s.modbus_unit_id, p.wire_slot, l.hard_min_speed_hz,"
            " l.hard_max_speed_hz, l.max_rate_hz_per_s FROM pumps p JOIN pump_stations s USING (station_id)"
            " JOIN pump_safety_limits l USING (pump_id) WHERE p.station_id = ? ORDER BY p.pump_id",
            STATION_ID,
        )
        return tuple(
            Place(station, pump, unit, BLOCK_BASE + BLOCK_STEP * slot, low, high, rate)
            for station, pump, unit, slot, low, high, rate in rows
        )


@pytest.fixture
def site(ray_session: RaySession, tmp_path: Path) -> Iterator[Site]:
    data_dir = tmp_path / "data"
    opcua, modbus = free_ports(2)
    settings = Settings(data_dir=str(data_dir), ports=PortSettings(opcua=opcua, modbus=modbus))
    data_dir.mkdir()
    url = sqlite_url(data_dir / "calejo.db")
    upgrade(url)
    subprocess.run(
        [sys.executable, "-m", "ops.demo", "seed", "--data-dir", str(data_dir), "--database", url],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    # As `calejo run` does: no endpoint serves without a certificate.
    list(opcua_access.prepare(settings, now=utc_now()))
    sql = Sql(str(data_dir / "calejo.db"))
    sql.insert_moving_plans(lasts_s=3600.0)
    site = Site(beside(ray_session, settings, make="tests.chaos.fencing_tree:make"), settings, sql)
    try:
        site.start()
        yield site
    finally:
        site.end()


def test_a_replaced_safety_actor_that_wakes_up_writes_nothing(site: Site) -> None:
    """SAF-11, SUP-8: SIGSTOP, successor under another name, SIGCONT: not one value of the old epoch for over a lease.

    Method: proposals, feedback and stops go on being told to both. That the old one really spoke is proved by its own
    decisions, made after it woke up, and by the gates' counts of setpoints refused for their epoch.
    """
    places = site.places()
    with (
        plant_at(Path(site.settings.data_dir), site.settings.ports.modbus) as truth,
        WireLog("127.0.0.1", site.settings.ports.modbus, places) as wire,
    ):
        first = places[0].pump_id

        def moving() -> bool:
            seen = [wire.latest(place.pump_id) for place in places]
            enabled = all(sample is not None and sample.enabled for sample in seen)
            return enabled and any(sample is not None and sample.setpoint_hz > 20.0 for sample in seen)

        until(moving, within_s=60, what="the station under remote control, a pump running")
        began = utc_now()
        old_epoch = wire.of(first)[-1].epoch
        old_pid = until(lambda: site.pid(VICTIM), within_s=10, what="the safety actor's process")
        refused_before = site.refused_epochs()
        os.kill(old_pid, signal.SIGSTOP)
        stopped_s = time.monotonic()
        until(
            lambda: all(
                (seen := wire.latest(place.pump_id)) is not None and seen.epoch > old_epoch
                for place in places
            ),
            within_s=HANG_BACK_WITHIN_S,
            what="a successor that speaks in a newer epoch",
        )
        taken_over_s = time.monotonic()
        keep("SAF-11 fencing (s)", "SIGSTOP to the successor's epoch on the wire", taken_over_s - stopped_s)
        assert site.pid(SUCCESSOR) not in {None, old_pid}
        assert _state(old_pid) == "T", "the old one is to hang, not to be dead"
        assert site.refused_epochs() == refused_before

        os.kill(old_pid, signal.SIGCONT)
        woken, woken_s = utc_now(), time.monotonic()
        # Of all it was told while it hung, and of what it is told now.
        old = until(lambda: _decided_since(site, woken), within_s=5, what="decisions of the old one, awake")
        assert old.epoch.counter == old_epoch, "it speaks in its old epoch"
        until(
            lambda: time.monotonic() - woken_s > SETPOINT_LEASE_S + 1.0,
            within_s=SETPOINT_LEASE_S + 2.0,
            what="more than a lease",
        )
        assert _decided_since(site, woken) is not None
        assert site.pid(VICTIM) == old_pid, "it lives and answers to the end"
        refused = site.refused_epochs()
        silent = [key for key, count in refused.items() if count - refused_before[key] < SETPOINT_LEASE_S / 2]
        assert not silent, f"the old one was hardly heard by {silent}: {refused}"
        keep("SAF-11 fencing", "setpoints refused for their epoch (count)", sum(refused.values()))

        for place in places:
            # The gate keeps the old one's last value until the successor's first.
            after = wire.of(place.pump_id, since_s=taken_over_s)
            assert {sample.epoch for sample in after} == {after[0].epoch}
            assert after[0].epoch > old_epoch
            dead = wire.of(place.pump_id, since_s=stopped_s + IN_FLIGHT_S, to_s=stopped_s + 2.5)
            assert not heartbeats(dead), "the chain was dead"
            assert not lapses(wire.of(place.pump_id, since_s=stopped_s)), place.pump_id
        assert wire.rate_hz(stopped_s, time.monotonic()) >= RATE_HZ_MIN
        assert wire.moving(woken_s, time.monotonic()), "setpoints must have changed while both spoke"
        wrong = [finding.text for finding in wire.findings() if finding.t_s >= stopped_s]
        assert not wrong, wrong[0]
        pumps = truth.pumps(since=began)
        assert not [pump for pump in (place.pump_id for place in places) if pumps[pump][-1]["old_epochs"]]


def _decided_since(site: Site, moment: Any) -> StationDecisions | None:
    """Return the old one's account when it has decided for every pump since `moment`."""
    answer = site.ask(VICTIM, GetStationDecisions())
    if not isinstance(answer, StationDecisions) or not answer.decisions:
        return None
    return answer if all(decision.decided_at.utc > moment for decision in answer.decisions) else None


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
