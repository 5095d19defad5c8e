"""What controllers wrote to one endpoint, and what the site's other endpoints and pollers passed on (CTL-4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from actors.feedback import newest
from actors.messages import FeedbackReceived, JudgedValue, PumpFeedback, Sample
from actors.publisher.stops import other_endpoints
from actors.safety.limits import is_finite_number
from actors.vocabulary import Address, Instant, Quality, SiteConfig, WriteRefusal
from actors.vocabulary.ids import pump_address, station_part_address
from actors.vocabulary.settings import PORT_PROTOCOLS

FLUSH_PERIOD_S: Final = 0.2
SCADA_HEARTBEAT: Final = "scada_heartbeat"

_UINT16_MAX: Final = 65_535
_INT32_MAX: Final = 2_147_483_647


class PointRule(msgspec.Struct, frozen=True):
    """Where a written point is kept, and what the wire can carry (engineering units).

    Only what no register could hold is refused: a broken sensor's value must not cost the rest of the request.
    Whether a value can be true is judged where it is used (`actors.feedback`).
    """

    field: str
    kind: str
    low: float
    high: float


RULES: Final[Mapping[str, PointRule]] = {
    "local_override": PointRule("local_override", "bool", 0, 1),
    "plc_heartbeat": PointRule("plc_heartbeat", "int", 0, _UINT16_MAX),
    "setpoint_echo": PointRule("setpoint_echo_hz", "float", 0.0, _UINT16_MAX * 0.01),
    "actual_speed": PointRule("actual_speed_hz", "float", 0.0, _UINT16_MAX * 0.01),
    "actual_power": PointRule("actual_power_kw", "float", -_INT32_MAX * 0.01, _INT32_MAX * 0.01),
    "actual_flow": PointRule("actual_flow_m3h", "float", -_INT32_MAX * 0.01, _INT32_MAX * 0.01),
    "wet_well_level": PointRule("wet_well_level_m", "float", -_INT32_MAX * 0.001, _INT32_MAX * 0.001),
    "high_float": PointRule("high_float", "bool", 0, 1),
    "running": PointRule("running", "bool", 0, 1),
    "fault_code": PointRule("fault_code", "int", 0, _UINT16_MAX),
    SCADA_HEARTBEAT: PointRule(SCADA_HEARTBEAT, "int", 0, _UINT16_MAX),
}


class Shown(msgspec.Struct, frozen=True):
    """A point's value as a client reads it, its judged quality and when it was written (ns UTC; None: never)."""

    value: bool | int | float
    quality: Quality
    utc_ns: int | None


class Judged(NamedTuple):
    """What is known of one pump, and what its points are worth by field of `PumpFeedback`."""

    feedback: PumpFeedback
    verdicts: Mapping[str, JudgedValue]


class Heartbeat(msgspec.Struct, frozen=True):
    """A station's SCADA heartbeat: the last sample, and the moment its value last moved."""

    sample: Sample
    moved_at: Instant


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """Feedback by (station, pump): `own` was written to this endpoint, `heard` came from elsewhere.

    `dirty` names the stations with something written since the last flush, `changed` those whose shown values are
    out of date.
    """

    own: dict[tuple[str, str], PumpFeedback] = msgspec.field(default_factory=dict)
    heard: dict[tuple[str, str], PumpFeedback] = msgspec.field(default_factory=dict)
    scada_own: dict[str, Heartbeat] = msgspec.field(default_factory=dict)
    scada_heard: dict[str, Heartbeat] = msgspec.field(default_factory=dict)
    dirty: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()


def refusal_of(point: str, value: object) -> WriteRefusal | None:
    """Return why a client may not write this to the point; None: it may."""
    rule = RULES.get(point)
    if rule is None:
        return WriteRefusal.READ_ONLY
    if isinstance(value, bool):
        return None if rule.kind == "bool" else WriteRefusal.BAD_TYPE
    if not isinstance(value, int | float):
        return WriteRefusal.BAD_TYPE
    if not is_finite_number(value) or not rule.low <= value <= rule.high:
        return WriteRefusal.OUT_OF_RANGE
    if rule.kind != "float" and value != int(value):
        return WriteRefusal.BAD_TYPE
    return None


def written(
    board: Board, station_id: str, pump_id: str | None, point: str, value: float, *, at: Instant, source: str
) -> Board:
    """Take one write that `refusal_of` let through (`pump_id` None: `scada_heartbeat`)."""
    sample = Sample(float(value), at, source)
    touched = {"dirty": board.dirty | {station_id}, "changed": board.changed | {station_id}}
    if pump_id is None:
        beats = _beaten(board.scada_own, station_id, sample)
        return msgspec.structs.replace(board, scada_own=beats, **touched)
    held = board.own.get((station_id, pump_id), PumpFeedback(pump_id=pump_id))
    replaced = msgspec.structs.replace(held, **{RULES[point].field: sample})
    return msgspec.structs.replace(board, own={**board.own, (station_id, pump_id): replaced}, **touched)


def merged(board: Board, news: FeedbackReceived, *, now: Instant) -> Board:
    """Take what another endpoint or poller holds: of every point the newest; it is shown, never passed on."""
    heard = dict(board.heard)
    for feedback in news.pumps:
        key = (news.station_id, feedback.pump_id)
        heard[key] = newest(heard.get(key), feedback, now=now)
    beats = board.scada_heard
    if news.scada_heartbeat is not None:
        beats = _beaten(beats, news.station_id, news.scada_heartbeat)
    return msgspec.structs.replace(
        board, heard=heard, scada_heard=beats, changed=board.changed | {news.station_id}
    )


def restricted(board: Board, site: SiteConfig) -> Board:
    """Forget what is no longer configured; every station is to be shown anew."""
    stations = {station.station_id for station in site.stations}
    pumps = {(station.station_id, pump.pump_id) for station in site.stations for pump in station.pumps}
    return Board(
        own={key: held for key, held in board.own.items() if key in pumps},
        heard={key: held for key, held in board.heard.items() if key in pumps},
        scada_own={key: beat for key, beat in board.scada_own.items() if key in stations},
        scada_heard={key: beat for key, beat in board.scada_heard.items() if key in stations},
        dirty=board.dirty & stations,
        changed=frozenset(stations),
    )


def flush(board: Board, *, source: str) -> tuple[Board, tuple[FeedbackReceived, ...]]:
    """Return what has to be told on: each dirty station whole, but only what was written here."""
    news = []
    for station_id in sorted(board.dirty):
        pumps = tuple(held for key, held in sorted(board.own.items()) if key[0] == station_id)
        beat = board.scada_own.get(station_id)
        news.append(
            FeedbackReceived(
                station_id=station_id,
                source=source,
                pumps=pumps,
                scada_heartbeat=None if beat is None else beat.sample,
            )
        )
    return msgspec.structs.replace(board, dirty=frozenset()), tuple(news)


def receivers(
    site: SiteConfig, station_id: str, *, own: Address, protocols: Iterable[str] = PORT_PROTOCOLS
) -> tuple[Address, ...]:
    """Return who is told what controllers wrote here: the station's safety, station and pumps, the other endpoints."""
    station = site.station(station_id)
    assert station is not None, "the board knows configured stations only"
    return (
        station_part_address(site.site_id, station_id, "safety"),
        station_part_address(site.site_id, station_id, "station"),
        *(pump_address(site.site_id, station_id, pump.pump_id) for pump in station.pumps),
        *other_endpoints(site.site_id, own, protocols),
    )


def shown_clean(board: Board, *, only: str | None = None) -> Board:
    """Note that everything changed, or `only` that station's, has been shown."""
    left = frozenset() if only is None else board.changed - {only}
    return msgspec.structs.replace(board, changed=left)


def held(board: Board, station_id: str, pump_id: str, *, now: Instant) -> PumpFeedback:
    """Return the newest known of every point of a pump, whoever wrote it."""
    key = (station_id, pump_id)
    empty = PumpFeedback(pump_id=pump_id)
    return newest(board.heard.get(key), board.own.get(key, empty), now=now)


def scada_beat(board: Board, station_id: str) -> Heartbeat | None:
    """Return the station's heartbeat that moved last, whoever wrote it; None: no client ever did."""
    beats = [beats[station_id] for beats in (board.scada_own, board.scada_heard) if station_id in beats]
    return max(beats, key=lambda beat: beat.moved_at.boot_ns, default=None)


def shown_points(
    board: Board,
    station_id: str,
    judged: Mapping[str, Judged],
    *,
    now: Instant,
    stale_s: float,
) -> Iterator[tuple[str | None, str, Shown]]:
    """Yield (pump, point, what to show) for a station, its pumps' points with the quality that `judged` gives them.

    The station's `scada_heartbeat` is no feedback: it is BAD when never written or older than `stale_s`, and whether
    it moves is the watchdog's matter (WDG-1).
    """
    beat = scada_beat(board, station_id)
    sample = None if beat is None else beat.sample
    fresh = sample is not None and now.seconds_since(sample.at) <= stale_s
    quality = Quality.GOOD if fresh else Quality.BAD
    yield None, SCADA_HEARTBEAT, _shown(sample, RULES[SCADA_HEARTBEAT], quality)
    for pump_id, (feedback, verdicts) in judged.items():
        for point, rule in RULES.items():
            if point != SCADA_HEARTBEAT:
                of_pump: Sample | None = getattr(feedback, rule.field)
                yield pump_id, point, _shown(of_pump, rule, verdicts[rule.field].quality)


def _shown(sample: Sample | None, rule: PointRule, quality: Quality) -> Shown:
    """Return the controller's own number, true or not, beside the quality that it was given."""
    empty: bool | int | float = {"bool": False, "int": 0}.get(rule.kind, 0.0)
    # What was passed on (from a database, say) may not fit the wire at all.
    if sample is None or not is_finite_number(sample.value) or not rule.low <= sample.value <= rule.high:
        return Shown(empty, Quality.BAD, None)
    value: bool | int | float = sample.value
    if rule.kind == "bool":
        value = sample.value != 0.0
    elif rule.kind == "int":
        value = int(sample.value)
    return Shown(value, quality, sample.at.utc_ns)


def _beaten(beats: Mapping[str, Heartbeat], station_id: str, sample: Sample) -> dict[str, Heartbeat]:
    known = beats.get(station_id)
    same = known is not None and known.sample.value == sample.value
    moved_at = known.moved_at if same and known is not None else sample.at
    return {**beats, station_id: Heartbeat(sample, moved_at)}
