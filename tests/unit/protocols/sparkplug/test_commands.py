"""Commands from hosts: what is let through, what is refused and why, and what the answer finally says."""

from __future__ import annotations

import msgspec
import pytest

from actors.vocabulary import Mode, Quality, Reason, WriteRefusal
from protocols.sparkplug.commands import Answers, Commands, Request, Result
from protocols.sparkplug.edge import EdgeNode, Sample
from protocols.sparkplug.names import NODE, Node, definitions, sparkplug_points
from protocols.sparkplug.schema import Metric, Payload
from tests.unit.protocols.plants import north

NOW = 1_795_000_000_000
PUMP = "s1.p1"


def metric(
    name: str | None, value: bool | float | str | None, *, at_ms: int | None = None, alias: int | None = None
) -> Metric:
    return Metric(name=name, alias=alias, value=value, timestamp_ms=at_ms)


class Desk:
    def __init__(self, *, operators: bool = True) -> None:
        self.edge = EdgeNode(Node("calejo", "north"))
        self.edge.configure(definitions(sparkplug_points(north())))
        self.commands = Commands(self.edge, operator_commands=operators, age_s_max=10.0)

    def ask(
        self,
        *metrics: Metric,
        device: str = PUMP,
        at_ms: int | None = NOW,
        retained: bool = False,
        now_ms: int = NOW,
    ) -> list[Request]:
        payload = Payload(timestamp_ms=at_ms, metrics=metrics)
        return self.commands.judge(device, payload, retained=retained, now_ms=now_ms)[0]

    def one(
        self, asked: Metric, device: str = PUMP, **how: int | bool | None
    ) -> tuple[WriteRefusal | None, str]:
        (request,) = self.ask(asked, device=device, **how)  # type: ignore[arg-type]
        return request.refusal, request.why


def test_a_command_by_name_or_by_alias_goes_on() -> None:
    """SPB-1: as what its birth called it, with its value and time."""
    desk = Desk()
    path = "/north/s1/p1/setpoint_request"
    (request,) = desk.ask(metric("setpoint_request", 35.0))
    assert (request.path, request.value, request.timestamp_ms, request.refusal) == (path, 35.0, NOW, None)
    (request,) = desk.ask(metric(None, 36.0, alias=desk.edge.alias_of(path)), at_ms=NOW + 1)
    assert (request.path, request.value, request.refusal) == (path, 36.0, None)


def test_another_devices_alias_is_unknown_here() -> None:
    """SPB-1: a topic and an alias that do not belong together are no command."""
    desk = Desk()
    alias = desk.edge.alias_of("/north/s1/p2/setpoint_request")
    assert desk.one(metric(None, 36.0, alias=alias))[0] is WriteRefusal.UNKNOWN_POINT


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (metric("nothing", 1.0), WriteRefusal.UNKNOWN_POINT),
        (metric(None, 1.0), WriteRefusal.UNKNOWN_POINT),
        (metric("", 1.0), WriteRefusal.UNKNOWN_POINT),
        (metric("setpoint", 35.0), WriteRefusal.READ_ONLY),
        (metric("actual_speed", 35.0), WriteRefusal.READ_ONLY),
        (metric("command_result", "applied"), WriteRefusal.READ_ONLY),
        (metric("setpoint_request", float("nan")), WriteRefusal.BAD_TYPE),
        (metric("setpoint_request", "35"), WriteRefusal.BAD_TYPE),
        (metric("setpoint_request", None), WriteRefusal.BAD_TYPE),
        (metric("mode_request", 1.5), WriteRefusal.BAD_TYPE),
        (metric("emergency_stop", 1), WriteRefusal.BAD_TYPE),
    ],
)
def test_what_is_no_command_is_refused(asked: Metric, why: WriteRefusal) -> None:
    """SPB-1, MOD-3: unknown, read-only, of another type."""
    assert Desk().one(asked)[0] is why


def test_an_unknown_device_has_no_metrics() -> None:
    """SPB-1: whatever is written to it."""
    assert Desk().one(metric("emergency_stop", True), device="s9.p9")[0] is WriteRefusal.UNKNOWN_POINT


def test_operators_are_off_unless_configured_but_stops_are_not() -> None:
    """SPB-1, EST-1: without `operator_commands` a broker's user is no operator; a stop is everybody's."""
    desk = Desk(operators=False)
    for asked in (metric("setpoint_request", 35.0), metric("mode_request", 2)):
        assert desk.one(asked)[0] is WriteRefusal.NOT_PERMITTED
    assert desk.one(metric("emergency_stop", True))[0] is None
    assert desk.one(metric("scada_heartbeat", 7), device="s1")[0] is None


@pytest.mark.parametrize("name", ["setpoint_request", "mode_request", "emergency_stop"])
def test_a_retained_command_is_refused(name: str) -> None:
    """SPB-1: a broker hands it out at every connection, whatever has happened since."""
    value: bool | float = True if name == "emergency_stop" else 2
    assert Desk().one(metric(name, value), retained=True) == (WriteRefusal.STALE, "retained")


@pytest.mark.parametrize(
    ("age_ms", "taken"), [(0, True), (10_000, True), (10_001, False), (-10_000, True), (-10_001, False)]
)
def test_a_command_is_for_now(age_ms: int, taken: bool) -> None:
    """SPB-1, SUP-6: older than `command_age_s`, or that far ahead of our clock: refused."""
    why = Desk().one(metric("setpoint_request", 35.0), at_ms=NOW - age_ms)[0]
    assert (why is None) is taken
    assert taken or why is WriteRefusal.STALE


def test_a_command_without_a_time_is_refused() -> None:
    """SPB-1: nobody can say whether it is stale; the metric's own time counts where it has one."""
    assert Desk().one(metric("setpoint_request", 35.0), at_ms=None)[0] is WriteRefusal.STALE
    assert Desk().one(metric("setpoint_request", 35.0, at_ms=NOW), at_ms=None)[0] is None
    assert Desk().one(metric("setpoint_request", 35.0, at_ms=1))[0] is WriteRefusal.STALE


def test_a_replayed_command_is_refused() -> None:
    """SPB-1: the same message again, or an older one after a newer one; each metric has its own newest."""
    desk = Desk()
    assert desk.one(metric("setpoint_request", 35.0))[0] is None
    assert desk.one(metric("setpoint_request", 35.0))[0] is WriteRefusal.STALE
    assert desk.one(metric("setpoint_request", 20.0), at_ms=NOW - 1)[0] is WriteRefusal.STALE
    assert desk.one(metric("mode_request", 2))[0] is None
    assert desk.one(metric("setpoint_request", 36.0), at_ms=NOW + 1)[0] is None


def test_a_refused_command_does_not_count_as_the_newest() -> None:
    """SPB-1: a message from a far future, refused, must not shut out the right ones."""
    desk = Desk()
    assert desk.one(metric("setpoint_request", 35.0), at_ms=NOW + 60_000)[0] is WriteRefusal.STALE
    assert desk.one(metric("setpoint_request", 35.0))[0] is None


@pytest.mark.parametrize("at_ms", [None, 0, NOW - 86_400_000, NOW + 86_400_000])
def test_a_stop_is_taken_whatever_its_senders_clock_says(at_ms: int | None) -> None:
    """EST-4: a clock that is wrong must not cost a stop; the same message again is no new one."""
    desk = Desk()
    assert desk.one(metric("emergency_stop", True), at_ms=at_ms)[0] is None
    if at_ms is not None:
        assert desk.one(metric("emergency_stop", True), at_ms=at_ms)[0] is WriteRefusal.STALE
        assert desk.one(metric("emergency_stop", True), at_ms=at_ms - 1 if at_ms else 1)[0] is None


def test_what_is_remembered_is_bounded() -> None:
    """SPB-1: a host in a loop fills nothing."""
    desk = Desk()
    for number in range(2_000):
        desk.one(metric("emergency_stop", True), at_ms=number)
    assert len(desk.commands._stops) <= 256


@pytest.mark.parametrize(
    ("asked", "retained", "device", "due"),
    [
        (metric("Node Control/Rebirth", True), False, NODE, True),
        (metric("Node Control/Rebirth", False), False, NODE, False),
        (metric("Node Control/Rebirth", 1), False, NODE, False),
        (metric("Node Control/Rebirth", True), True, NODE, False),
        (metric("Node Control/Rebirth", True), False, PUMP, False),
    ],
)
def test_a_rebirth_is_asked_for_by_true(asked: Metric, retained: bool, device: str, due: bool) -> None:
    """SPB-1: of the node, with a true Boolean, not retained."""
    payload = Payload(timestamp_ms=NOW, metrics=(asked,))
    assert Desk().commands.judge(device, payload, retained=retained, now_ms=NOW)[1] is due


# --------------------------------------------------------------------------- what became of it


def request(name: str, value: float) -> Request:
    return Request(path=f"/north/s1/p1/{name}", device=PUMP, name=name, value=value, timestamp_ms=NOW)


def shown(
    beat: int, *, hz: float = 30.0, mode: Mode = Mode.MANUAL, reason: Reason = Reason.MANUAL
) -> dict[str, Sample]:
    values = {"heartbeat": beat, "setpoint": hz, "mode": mode.value, "reason": reason.value}
    return {name: Sample(f"/north/s1/p1/{name}", value, Quality.GOOD, NOW) for name, value in values.items()}


def story(asked: Request, *looks: dict[str, Sample]) -> list[str]:
    """Return the results in order: as decided, then at each look."""
    answers = Answers()
    told = answers.decided(asked, asked.refusal, shown(10, mode=Mode.MANUAL), now_ms=NOW)
    for look in looks:
        told += answers.seen(PUMP, look)
    return [answer.result.value for answer in told]


def test_a_speed_is_applied_once_a_later_setpoint_shows_it() -> None:
    """SPB-1: one that was decided before the command, with the same value, proves nothing."""
    asked = request("setpoint_request", 35.0)
    assert story(asked, shown(10, hz=35.0), shown(11, hz=35.0)) == ["accepted"]
    assert story(asked, shown(11, hz=30.0), shown(12, hz=35.0)) == ["accepted", "applied"]


def test_a_ramp_is_waited_for() -> None:
    """SPB-1, CTL-3: on its way is neither applied nor clamped."""
    asked = request("setpoint_request", 35.0)
    on_its_way = [shown(beat, hz=beat + 20.0, reason=Reason.RAMP) for beat in (11, 12, 13)]
    assert story(asked, *on_its_way) == ["accepted"]
    assert story(asked, *on_its_way, shown(14, hz=35.0)) == ["accepted", "applied"]


def test_what_the_safety_layer_made_of_it_is_told() -> None:
    """SPB-1, SAF-2: clamped, to what and why."""
    answers = Answers()
    answers.decided(request("setpoint_request", 60.0), None, shown(10), now_ms=NOW)
    assert answers.seen(PUMP, shown(11)) == []
    (answer,) = answers.seen(PUMP, shown(12, hz=50.0, reason=Reason.LIMITED))
    assert (answer.result, answer.detail, answer.id_ms) == (Result.CLAMPED, "50.00 Hz: LIMITED", NOW)
    assert answers.seen(PUMP, shown(13)) == [], "answered once"


def test_a_mode_is_applied_when_the_wire_shows_it() -> None:
    """SPB-1: and rejected when the panel has taken over meanwhile."""
    asked = request("mode_request", 1)
    assert story(asked, shown(11, mode=Mode.MANUAL), shown(12, mode=Mode.AUTO)) == ["accepted", "applied"]
    assert story(asked, shown(11), shown(12, mode=Mode.LOCAL)) == ["accepted", "rejected"]


def test_a_refusal_is_told_with_its_reason() -> None:
    """SPB-1: rejected at once, and nothing is waited for."""
    answers = Answers()
    asked = request("setpoint_request", 35.0)
    (answer,) = answers.decided(asked, WriteRefusal.INVALID_STATE, shown(10), now_ms=NOW)
    assert (answer.result, answer.detail) == (Result.REJECTED, "invalid_state")
    assert not answers.waits_for(PUMP)


def test_a_stop_is_applied_and_a_heartbeat_is_not_answered() -> None:
    """EST-1: the stop is on the wire before it is answered; a heartbeat each second must not hide an answer."""
    answers = Answers()
    (answer,) = answers.decided(request("emergency_stop", True), None, {}, now_ms=NOW)
    assert answer.result is Result.APPLIED
    assert answers.decided(request("scada_heartbeat", 5), None, {}, now_ms=NOW) == []


def test_each_metric_has_its_own_answer_and_an_overtaken_command_one_too() -> None:
    """SPB-1: a mode and a speed of one message; the second of two speeds takes the first one's place, and says so."""
    answers = Answers()
    answers.decided(request("mode_request", 2), None, shown(10, mode=Mode.AUTO), now_ms=NOW)
    answers.decided(request("setpoint_request", 30.0), None, shown(10, mode=Mode.AUTO), now_ms=NOW)
    later = msgspec.structs.replace(request("setpoint_request", 35.0), timestamp_ms=NOW + 5)
    told = answers.decided(later, None, shown(10, mode=Mode.AUTO), now_ms=NOW + 5)
    assert [(each.result.value, each.id_ms, each.detail) for each in told] == [
        ("superseded", NOW, f"by the command of {NOW + 5}"), ("accepted", NOW + 5, ""),
    ]  # fmt: skip
    assert answers.seen(PUMP, shown(11)) == []
    told = answers.seen(PUMP, shown(12, hz=35.0))
    assert [(each.name, each.result.value, each.id_ms) for each in told] == [
        ("mode_request", "applied", NOW), ("setpoint_request", "applied", NOW + 5),
    ]  # fmt: skip


def test_a_command_that_nothing_is_seen_of_is_answered_at_last() -> None:
    """SPB-1: a chain that died must not leave somebody waiting for ever, nor us remembering."""
    answers = Answers()
    answers.decided(request("mode_request", 1), None, shown(10), now_ms=NOW)
    assert answers.overdue(now_ms=NOW + 599_999) == []
    (answer,) = answers.overdue(now_ms=NOW + 600_000)
    assert (answer.result, answer.detail) == (Result.UNCONFIRMED, "not seen on the wire within 600 s")
    assert not answers.waits_for(PUMP)


def test_what_was_turned_away_as_busy_may_be_sent_again() -> None:
    """SPB-1: only what went on counts as the newest; what is wrong anyway is not asked about."""
    desk = Desk()
    asked: list[str] = []

    def judged(speed: float, why: str) -> Request:
        payload = Payload(timestamp_ms=NOW, metrics=(metric("setpoint_request", speed),))

        def busy(name: str) -> str:
            asked.append(name)
            return why

        return desk.commands.judge(PUMP, payload, retained=False, now_ms=NOW, busy=busy)[0][0]

    first = judged(35.0, "busy: too many")
    assert (first.refusal, first.why) == (WriteRefusal.DEVICE_FAILURE, "busy: too many")
    assert judged(float("nan"), "").refusal is WriteRefusal.BAD_TYPE
    assert judged(35.0, "").refusal is None
    assert judged(35.0, "").why.startswith("replayed")
    assert asked == ["setpoint_request", "setpoint_request"]
