"""Rows of the stream out of what the actors answered: the values, qualities and reasons that every protocol shows.

Pure. What moves with every tick and says nothing new (sequence, heartbeat, what is left of a lease, ages) is left out:
a row is told when something about it changed. Freshness is the gate's own word: when a lease runs out, quality and
`remote_enabled` change, and that is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from actors.messages import (
    Alarms,
    EndpointStatus,
    JudgedValue,
    PublishedPump,
    PumpDecision,
    StationDecisions,
    StationStatus,
    TreeNode,
    WatchdogStatus,
)
from actors.vocabulary import PumpConfig, SiteConfig, StationConfig
from actors.vocabulary.records import StopEventRecord
from api.plant_views import alarm_view, stop_view
from api.stream.topics import Item, Place, Topic, item
from api.views import decision_of, value_of, when, written_at

Table = Mapping[str, Item]


class Plant(msgspec.Struct, frozen=True, kw_only=True):
    """What one site answered; text is the reason why there is no answer."""

    site: SiteConfig
    endpoints: Mapping[str, EndpointStatus | str]
    decisions: Mapping[str, StationDecisions | str]
    stations: Mapping[str, StationStatus | str]
    out_of_service: frozenset[str]


def plant_tables(plants: Iterable[Plant], latches: str) -> dict[Topic, Table]:
    """Return the tables of pumps and stations; `latches`: why the marks may be incomplete, '' if they are not."""
    setpoints: dict[str, Item] = {}
    feedback: dict[str, Item] = {}
    modes: dict[str, Item] = {}
    stations: dict[str, Item] = {}
    silent: dict[str, str] = {"latches": latches} if latches else {}
    for plant in plants:
        silent |= {name: answer for name, answer in plant.endpoints.items() if isinstance(answer, str)}
        shown = _published(plant.endpoints)
        for station in plant.site.stations:
            decided = plant.decisions.get(station.station_id, "not asked")
            status = plant.stations.get(station.station_id, "not asked")
            where = Place(plant.site.site_id, station.station_id)
            if isinstance(decided, str):
                silent[f"safety of {station.station_id}"] = decided
            if isinstance(status, str):
                silent[f"station {station.station_id}"] = status
            stations[station.station_id] = item(where, _station_row(where, station, status))
            for pump in station.pumps:
                at = msgspec.structs.replace(where, pump_id=pump.pump_id)
                decision = decision_of(decided, pump.pump_id)
                rows = shown.get(pump.pump_id, [])
                setpoints[pump.pump_id] = item(at, _setpoint_row(at, pump, decision, decided, rows))
                feedback[pump.pump_id] = item(at, _feedback_row(at, decided))
                modes[pump.pump_id] = item(at, _mode_row(at, decision, plant.out_of_service))
    return {
        Topic.SETPOINTS: setpoints,
        Topic.FEEDBACK: feedback,
        Topic.MODES: modes,
        Topic.STATIONS: stations,
        Topic.UNAVAILABLE: silence(silent),
    }


def silence(silent: Mapping[str, str]) -> dict[str, Item]:
    """Return who does not answer, and why."""
    return {name: item(Place(), {"part": name, "why": why}) for name, why in silent.items()}


def stops_table(stops: Iterable[StopEventRecord]) -> Table:
    """Return the stops and out-of-service marks that hold."""
    return {stop.record_id: item(Place(), stop_view(stop)) for stop in stops}


def alarms_table(alarms: Alarms) -> Table:
    """Return raised and lately returned alarms."""
    return {alarm.alarm_id: item(Place(), alarm_view(alarm)) for alarm in alarms.alarms}


def failsafes_table(watchdogs: Mapping[str, WatchdogStatus]) -> Table:
    """Return the failsafes that hold, by site."""
    return {
        f"{site_id}:{each['scope']}:{each['scope_id']}": item(
            Place(site_id=site_id), {"site_id": site_id, **each}
        )
        for site_id, status in watchdogs.items()
        for each in status.failsafes
    }


def tree_table(nodes: Iterable[TreeNode]) -> Table:
    """Return the process tree without what moves all the time."""
    return {
        node.address: item(
            Place(),
            {
                "address": node.address,
                "role": node.role.value,
                "kind": node.kind,
                "state": node.state,
                "pid": node.pid,
                "node_id": node.node_id,
                "restarts": node.restarts,
                "last_error": node.last_error,
                "lost_tells": node.lost_tells,
                "birth": node.birth,
                "away_s": node.away_s,
            },
        )
        for node in nodes
    }


def _published(endpoints: Mapping[str, EndpointStatus | str]) -> dict[str, list[dict[str, Any]]]:
    shown: dict[str, list[dict[str, Any]]] = {}
    for name, status in endpoints.items():
        if isinstance(status, str):
            continue
        for pump in status.pumps:
            shown.setdefault(pump.pump_id, []).append(_published_row(name, pump, bound=bool(status.bound)))
    return shown


def _published_row(endpoint: str, pump: PublishedPump, *, bound: bool) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "bound": bound,
        "setpoint_hz": pump.setpoint_hz,
        "remote_enabled": pump.remote_enabled,
        "run_inhibit": pump.run_inhibit,
        "quality": pump.quality.name,
        "reason": pump.reason.name,
        "epoch": pump.epoch_counter,
        "release_id": pump.release_id,
        "lapses": pump.lapses,
        "echo_hz": pump.echo_hz,
        "measured_hz": pump.measured_hz,
    }


def _setpoint_row(
    at: Place,
    pump: PumpConfig,
    decision: PumpDecision | None,
    decided: StationDecisions | str,
    published: list[dict[str, Any]],
) -> dict[str, Any]:
    waiting = None if isinstance(decided, str) else decided.waiting_for.get(pump.pump_id)
    row: dict[str, Any] = {**_where(at), "decided": None, "waiting_for": waiting, "published": published}
    if decision is not None:
        setpoint = decision.setpoint
        row["decided"] = {
            "setpoint_hz": setpoint.setpoint_hz,
            "remote_enabled": setpoint.remote_enabled,
            "run_inhibit": setpoint.run_inhibit,
            "quality": setpoint.quality.name,
            "reason": setpoint.reason.name,
            "mode": setpoint.mode.name,
            "epoch": f"{setpoint.epoch.term}.{setpoint.epoch.counter}",
            "limits_version": setpoint.limits_version,
            "failsafe_since": when(decision.failsafe_since),
            "failsafe_reason": None if decision.failsafe_reason is None else decision.failsafe_reason.name,
            "not_following_since": when(decision.not_following_since),
        }
    return row


def _feedback_row(at: Place, decided: StationDecisions | str) -> dict[str, Any]:
    known = not isinstance(decided, str)
    values = {} if isinstance(decided, str) else decided.feedback.get(at.pump_id, {})
    # A controller's heartbeat is among them: such a row is news each second, whatever else stands in it.
    told = {name: {**_value(each, name), "utc": written_at(each)} for name, each in values.items()}
    return {**_where(at), "known": known, "values": told}


def _mode_row(at: Place, decision: PumpDecision | None, out: frozenset[str]) -> dict[str, Any]:
    return {
        **_where(at),
        "mode": None if decision is None else decision.setpoint.mode.name,
        "out_of_service": at.pump_id in out,
    }


def _station_row(at: Place, station: StationConfig, status: StationStatus | str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "station_id": at.station_id,
        "site_id": at.site_id,
        "name": station.name,
        "known": False,
        "level": None,
        "running": {},
    }
    if isinstance(status, str):
        return row
    return row | {"known": True, "level": _value(status.level), "running": status.running}


def _value(judged: JudgedValue, point: str = "") -> dict[str, Any]:
    return {"value": value_of(point, judged), "quality": judged.quality.name, "why": judged.why}


def _where(at: Place) -> dict[str, str]:
    return {"pump_id": at.pump_id, "station_id": at.station_id, "site_id": at.site_id}
