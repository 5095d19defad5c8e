"""The vocabulary between actors: frozen tagged structs, one union per receiver, and how each travels (SUP-6).

Imperatives are commands, past tense is news. Speeds in Hz, levels in m above the station's datum, power in kW,
flow in m3/h, times as `Instant` (boot clock for ages, UTC for people).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

from actors.vocabulary import (
    Address,
    Instant,
    Mode,
    Quality,
    Reason,
    Role,
    Rule,
    Scope,
    Severity,
    SiteConfig,
    Topology,
)
from actors.vocabulary.durable import Epoch as Epoch  # noqa: PLC0414  (part of this contract)
from actors.vocabulary.links import LinkStatus
from actors.vocabulary.records import (
    AlarmRecord,
    FailsafeRecord,
    FeedbackRow,
    OptimiserStatus,
    PlanRow,
    Record,
    StopEventRecord,
)


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of everything that travels between actors."""


# --------------------------------------------------------------------------- shared values


class Sample(msgspec.Struct, frozen=True):
    """One measured value and the moment it was written to us."""

    value: float
    at: Instant
    source: str = ""


class PumpFeedback(msgspec.Struct, frozen=True, kw_only=True):
    """What a controller wrote about one pump; None means: never written (BAD, not 0). Booleans are 0.0 or 1.0."""

    pump_id: str
    actual_speed_hz: Sample | None = None
    actual_power_kw: Sample | None = None
    actual_flow_m3h: Sample | None = None
    wet_well_level_m: Sample | None = None
    running: Sample | None = None
    local_override: Sample | None = None
    high_float: Sample | None = None
    fault_code: Sample | None = None
    plc_heartbeat: Sample | None = None
    setpoint_echo_hz: Sample | None = None


class JudgedValue(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value after CTL-4: quality, age in s, why it is not GOOD, and when it was written (UTC)."""

    value: float | None
    quality: Quality
    age_s: float | None
    why: str = ""
    utc_ns: int | None = None


class TrailStep(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that changed a value: before and after in Hz, and the figures it used."""

    rule: Rule
    before_hz: float
    after_hz: float
    why: str


class ProposalSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a proposal came from: plan row, calculator and its inputs with quality."""

    calculator: str
    plan_id: int | None = None
    plan_version: int | None = None
    plan: PlanRow | None = None
    inputs: dict[str, JudgedValue] = msgspec.field(default_factory=dict)
    note: str = ""


class Setpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One decision for one pump as gates receive it. `origin` is the pump's tick: the lease runs from there.

    `latch_release`: the pump's newest release number that the decider knew. A stop that it knew may be cleared by now
    (EST-6). `not_following`: the pump does not do as it was told (CTL-5); that changes nothing else here.
    `recorded`: a row of history tells of it, so each gate adds when it took it (SAF-4).
    """

    pump_id: str
    setpoint_hz: float
    remote_enabled: bool
    quality: Quality
    reason: Reason
    run_inhibit: bool
    failsafe_image_hz: float
    failsafe_image_reason: Reason
    epoch: Epoch
    sequence: int
    origin: Instant
    lease_s: float
    limits_version: int
    mode: Mode
    latch_release: int = 0
    not_following: bool = False
    recorded: bool = False


# --------------------------------------------------------------------------- common to all


class Tick(Message, frozen=True, kw_only=True):
    """An actor's own period has come round; `what` tells several timers of one actor apart."""

    what: str = ""


class Configure(Message, frozen=True, kw_only=True):
    """The configuration that concerns the receiver, whole; what is absent is gone. Idempotent."""

    site: SiteConfig


class StopsChanged(Message, frozen=True, kw_only=True):
    """Stops, out-of-service marks and their clears, to be merged by union; `origin` is the sender's address."""

    stops: tuple[StopEventRecord, ...]
    origin: str = ""


class StopConfirmed(Message, frozen=True, kw_only=True):
    """An endpoint's answer to `StopsChanged`: on its wire, and whether its disk holds it (EST-2)."""

    endpoint: str
    published: bool
    durable: bool
    stop_ids: tuple[str, ...]


class FeedbackReceived(Message, frozen=True, kw_only=True):
    """Feedback of one station as an endpoint or poller holds it now, whole (so the latest replaces the former)."""

    station_id: str
    source: str
    pumps: tuple[PumpFeedback, ...]
    scada_heartbeat: Sample | None = None


class Done(Message, frozen=True, kw_only=True):
    """A command was carried out; with `repeat_of` then already, and now nothing was done."""

    note: str = ""
    repeat_of: datetime | None = None


# --------------------------------------------------------------------------- plan


class PlanIntervals(Message, frozen=True, kw_only=True):
    """A pump's current and next interval, validated; `current` None: no plan covers now.

    `database_answered_at` is the last successful poll; `optimiser_heartbeat_age_s` None: no heartbeat row exists.
    """

    pump_id: str
    current: PlanRow | None
    following: PlanRow | None
    database_answered_at: Instant | None
    optimiser_heartbeat_age_s: float | None
    sent_at: Instant


class GetPlanIntervals(Message, frozen=True, kw_only=True):
    """Ask for `PlanIntervals` of one pump (a pump does so when it starts)."""

    pump_id: str


class PlansWritten(Message, frozen=True, kw_only=True):
    """The database notified that plans changed: poll now."""


class GetPlanStatus(Message, frozen=True, kw_only=True):
    """Ask for `PlanStatus`."""


class PlanStatus(Message, frozen=True, kw_only=True):
    """A station's plan coverage as the watchdog and the API see it."""

    station_id: str
    database_answered_at: Instant | None
    optimiser_heartbeat_age_s: float | None
    covered: dict[str, bool]
    refused_total: int
    last_refusals: dict[str, str]
    sent_at: Instant


class PlansRead(Message, frozen=True, kw_only=True):
    """A plan actor to itself: a read ended; `error` not empty: it failed and the rest means nothing."""

    asked_at: Instant
    rows: tuple[PlanRow, ...] = ()
    optimiser: OptimiserStatus | None = None
    error: str = ""


PlanInbox: TypeAlias = Tick | Configure | PlansWritten | GetPlanIntervals | GetPlanStatus | PlansRead


# --------------------------------------------------------------------------- pump


class SetMode(Message, frozen=True, kw_only=True):
    """Command AUTO or MANUAL (with Hz and seconds until expiry). OUT_OF_SERVICE travels as a stop record.

    `only_in`: refused unless the pump is in this mode when the command arrives. `reason`, `source_address`: for the
    record, which the pump writes itself: nobody else knows that it took the command.
    """

    pump_id: str
    command_id: str
    mode: Mode
    by: str
    setpoint_hz: float | None = None
    expires_after_s: float | None = None
    only_in: Mode | None = None
    reason: str = ""
    source_address: str = ""


class SetpointDecided(Message, frozen=True, kw_only=True):
    """Safety tells the pump what became of its proposal (for anti-windup and bumpless transfer).

    `duty_hz`: another pump runs in its place (rule 6), at this speed.
    """

    pump_id: str
    applied_hz: float
    reason: Reason
    remote_enabled: bool
    tracking_hz: float | None
    origin: Instant
    duty_hz: float | None = None


class GetPump(Message, frozen=True, kw_only=True):
    """Ask for `PumpStatus`."""


class PumpStatus(Message, frozen=True, kw_only=True):
    """A pump as its actor sees it."""

    pump_id: str
    mode: Mode
    mode_by: str
    mode_expires_at: Instant | None
    manual_hz: float | None
    plan: PlanRow | None
    wish_hz: float | None
    source: ProposalSource | None
    feedback: dict[str, JudgedValue]
    held_stopped: bool


PumpInbox: TypeAlias = (
    Tick | Configure | PlanIntervals | FeedbackReceived | SetMode | SetpointDecided | GetPump
)


# --------------------------------------------------------------------------- safety


class Proposal(Message, frozen=True, kw_only=True):
    """A pump's wish. `wish_hz` None with a `failsafe` reason: no usable plan. `origin` is the pump's own tick."""

    pump_id: str
    wish_hz: float | None
    mode: Mode
    origin: Instant
    sequence: int
    source: ProposalSource
    failsafe: Reason | None = None
    held_stopped: bool = False


class RoundDue(Message, frozen=True, kw_only=True):
    """Safety to itself, behind waiting proposals: decide for all that is new, in one batch."""


class ScopeFailed(Message, frozen=True, kw_only=True):
    """A supervisor quarantined or revived a child (SUP-5): its pumps go to failsafe while `active`.

    Said again every 5 s while it stands: a supervisor that begins anew knows of no quarantine of its predecessor's.
    """

    child: Address
    scope: Scope
    scope_id: str
    active: bool
    reason: Reason
    detail: str


class GetStationDecisions(Message, frozen=True, kw_only=True):
    """Ask for `StationDecisions`."""


class PumpDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The last decision for one pump with its whole trail (SAF-4)."""

    setpoint: Setpoint
    proposal: Proposal | None
    trail: tuple[TrailStep, ...]
    failsafe_since: Instant | None
    handed_back_since: Instant | None
    decided_at: Instant
    failsafe_reason: Reason | None = None
    not_following_since: Instant | None = None


class StationDecisions(Message, frozen=True, kw_only=True):
    """All current decisions of a station; also news to the watchdog once a second."""

    station_id: str
    epoch: Epoch
    decisions: tuple[PumpDecision, ...]
    waiting_for: dict[str, str]
    feedback: dict[str, dict[str, JudgedValue]]
    sent_at: Instant


class StartCleanOut(Message, frozen=True, kw_only=True):
    """A person orders a clean-out with one pump (CTL-6), for `lasts_s` at most; None: as long as is configured."""

    pump_id: str
    command_id: str
    by: str
    reason: str
    lasts_s: float | None = None
    source_address: str = ""


class StopCleanOut(Message, frozen=True, kw_only=True):
    """A person ends the clean-out of one pump; without one this changes nothing."""

    pump_id: str
    command_id: str
    by: str
    reason: str
    source_address: str = ""


SafetyInbox: TypeAlias = (
    Tick
    | StartCleanOut
    | StopCleanOut
    | Configure
    | Proposal
    | RoundDue
    | FeedbackReceived
    | StopsChanged
    | ScopeFailed
    | GetStationDecisions
)


# --------------------------------------------------------------------------- station


class GetStation(Message, frozen=True, kw_only=True):
    """Ask for `StationStatus`."""


class StationStatus(Message, frozen=True, kw_only=True):
    """The station as a whole: its wet well and its controllers."""

    station_id: str
    level: JudgedValue
    running: dict[str, bool | None]
    feedback: dict[str, dict[str, JudgedValue]]
    feedback_sources: dict[str, Instant]


class ForeignFeedbackRead(Message, frozen=True, kw_only=True):
    """A station actor to itself: a read of foreign feedback rows ended; `error` not empty: it failed."""

    asked_at: Instant
    rows: tuple[FeedbackRow, ...] = ()
    error: str = ""


StationInbox: TypeAlias = Tick | Configure | FeedbackReceived | GetStation | ForeignFeedbackRead


# --------------------------------------------------------------------------- publisher (protocol endpoint)


class SetpointsDecided(Message, frozen=True, kw_only=True):
    """The newest setpoint of every seeded pump of one station: whole, so that the latest replaces the former."""

    station_id: str
    epoch: Epoch
    setpoints: tuple[Setpoint, ...]


LATENCY_WINDOW_S: Final = 60.0


class GetEndpoint(Message, frozen=True, kw_only=True):
    """Ask for `EndpointStatus`; its latency covers the last `latency_window_s`."""

    latency_window_s: float = LATENCY_WINDOW_S


class PublishedPump(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate shows for one pump right now, and what came back from its controller."""

    pump_id: str
    setpoint_hz: float
    remote_enabled: bool
    run_inhibit: bool
    quality: Quality
    reason: Reason
    heartbeat: int
    sequence: int
    epoch_counter: int
    release_id: int
    mode: Mode | None
    accepted_at: Instant | None
    lease_left_s: float
    lapses: int
    refused: dict[str, int]
    echo_hz: float | None
    measured_hz: float | None
    echo_at: Instant | None = None
    measured_at: Instant | None = None


class LatencySummary(msgspec.Struct, frozen=True, kw_only=True):
    """From a pump's tick to its value on the wire, over `count` ticks (at most the last 1,000)."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class EndpointStatus(Message, frozen=True, kw_only=True):
    """An endpoint as the API and the watchdog see it."""

    protocol: str
    bound: str
    clients: int
    pumps: tuple[PublishedPump, ...]
    writes_refused: int
    stops_active: tuple[str, ...]
    sent_at: Instant
    # When a station's SCADA heartbeat last moved; absent: no client ever wrote it.
    scada_moved_at: dict[str, Instant] = msgspec.field(default_factory=dict)
    # None: no tick arrived in the window asked for.
    proposal_to_wire: LatencySummary | None = None
    # None: the endpoint binds a port; `bound` then says whether hosts see it.
    link: LinkStatus | None = None
    # Connections and requests refused, and security events by `EVENT:success` or `EVENT:refused`; since the start.
    clients_refused: int = 0
    security: dict[str, int] = msgspec.field(default_factory=dict)
    # What happened with clients since the endpoint's start, by event; empty: it does not count.
    told: dict[str, int] = msgspec.field(default_factory=dict)


PublisherInbox: TypeAlias = (
    Tick | Configure | SetpointsDecided | FeedbackReceived | StopsChanged | GetEndpoint
)


# --------------------------------------------------------------------------- watchdog, alarm


class GetWatchdog(Message, frozen=True, kw_only=True):
    """Ask for `WatchdogStatus`."""


class WatchdogStatus(Message, frozen=True, kw_only=True):
    """Every timer of a site with its state."""

    timers: tuple[dict[str, Any], ...]
    failsafes: tuple[dict[str, Any], ...]


class OpenFailsafesRead(Message, frozen=True, kw_only=True):
    """Storage to a watchdog: the failsafes whose records had no end when it asked, of all sites."""

    records: tuple[FailsafeRecord, ...]


WatchdogInbox: TypeAlias = (
    Tick | Configure | StationDecisions | PlanStatus | EndpointStatus | OpenFailsafesRead | GetWatchdog
)


class AlarmAsserted(Message, frozen=True, kw_only=True):
    """A condition holds; asserted again at least every 15 s while it does, so that a restarted alarm actor knows."""

    condition: str
    subject: str
    severity: Severity
    text: str
    at: Instant


class AlarmReturned(Message, frozen=True, kw_only=True):
    """A condition holds no longer."""

    condition: str
    subject: str
    at: Instant


class AcknowledgeAlarm(Message, frozen=True, kw_only=True):
    """A person has seen an alarm; answered with `Done`, refused when it waits for nobody (any longer)."""

    alarm_id: str
    by: str
    comment: str = ""


class GetAlarms(Message, frozen=True, kw_only=True):
    """Ask for `Alarms`."""


class AlarmView(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm as shown."""

    alarm_id: str
    condition: str
    subject: str
    severity: Severity
    state: str
    text: str
    raised_at: Instant
    returned_at: Instant | None
    occurrences: int
    acknowledged_at: Instant | None = None
    acknowledged_by: str = ""
    comment: str = ""


class Alarms(Message, frozen=True, kw_only=True):
    """Raised alarms and the latest returned ones.

    Without `whole` the alarm actor has not heard yet what its former life left open: an absence means nothing.
    """

    alarms: tuple[AlarmView, ...]
    whole: bool = True


class OpenAlarmsRead(Message, frozen=True, kw_only=True):
    """Storage to the alarm actor: alarms that had no end, or that nobody had seen, when the alarm actor asked."""

    records: tuple[AlarmRecord, ...]


AlarmInbox: TypeAlias = Tick | AlarmAsserted | AlarmReturned | AcknowledgeAlarm | OpenAlarmsRead | GetAlarms


# --------------------------------------------------------------------------- storage, discovery


class StoreRecords(Message, frozen=True, kw_only=True):
    """Append these; answered with `Stored` once they are durable here (the spool), not when the database has them."""

    records: tuple[Record, ...]


class Stored(Message, frozen=True, kw_only=True):
    """How many were taken."""

    count: int


class GetStorage(Message, frozen=True, kw_only=True):
    """Ask for `StorageStatus`."""


class StorageStatus(Message, frozen=True, kw_only=True):
    """The storage actor's spool and its database."""

    database_ok: bool
    last_error: str
    spooled_records: int
    spooled_bytes: int
    written_total: int
    refused_total: int
    dropped_total: int


class GetStops(Message, frozen=True, kw_only=True):
    """Ask for `KnownStops`; `held` are the ids that the asker holds uncleared, whose clears it may have missed."""

    held: tuple[str, ...] = ()


class KnownStops(Message, frozen=True, kw_only=True):
    """The stops of the database joined with the latch folder, but for clears that nobody needs any longer (EST-2).

    Without `database_answered` the database has not been read yet and the stops mean nothing: ask again.
    """

    stops: tuple[StopEventRecord, ...]
    database_answered: bool


class ReadOpenAlarms(Message, frozen=True, kw_only=True):
    """The alarm actor asks for `OpenAlarmsRead`, which is told to it as soon as the database answers."""


class ReadOpenFailsafes(Message, frozen=True, kw_only=True):
    """The watchdog of a site asks for `OpenFailsafesRead`, which is told to it as soon as the database answers."""

    site_id: str


StorageInbox: TypeAlias = Tick | StoreRecords | GetStorage | GetStops | ReadOpenAlarms | ReadOpenFailsafes


class DiscoverNow(Message, frozen=True, kw_only=True):
    """Look at the database at once; answered with `DiscoveryStatus`."""


class GetTopology(Message, frozen=True, kw_only=True):
    """Ask for `DiscoveryStatus`."""


class DiscoveryStatus(Message, frozen=True, kw_only=True):
    """The last valid topology (None: none found yet) and how the last look at the database went."""

    topology: Topology | None
    looked_at: Instant | None
    last_error: str


DiscoveryInbox: TypeAlias = Tick | DiscoverNow | GetTopology


# --------------------------------------------------------------------------- supervisors, api


class TopologyDiscovered(Message, frozen=True, kw_only=True):
    """Discovery to the root; the root to each site supervisor (then with that one site)."""

    topology: Topology


class GetTree(Message, frozen=True, kw_only=True):
    """Ask a supervisor for `TreeView` of itself and all below (it asks supervisor processes below it in turn)."""


class TreeNode(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `calejo tree` (SUP-7).

    `gone_at`: when its supervisor last noticed that it no longer ran; `away_s`: how long it took from then until it
    answered again, None while it does not. A supervisor that was restarted itself knows of no earlier absence.
    """

    address: str
    role: Role
    kind: str
    state: str
    pid: int | None
    node_id: str | None
    restarts: int
    last_error: str
    mailbox_depth: int | None
    rss_mib: float | None
    lost_tells: int = 0
    birth: str | None = None  # 'forked' from a warm process or started 'cold'; None: not known
    gone_at: datetime | None = None
    away_s: float | None = None


class TreeView(Message, frozen=True, kw_only=True):
    """A supervisor's subtree, in start order."""

    nodes: tuple[TreeNode, ...]


class RetryChild(Message, frozen=True, kw_only=True):
    """An operator takes a child out of quarantine."""

    child: str


class StopTree(Message, frozen=True, kw_only=True):
    """Stop everything below in reverse order within `budget_s`; answered with `Done` when nothing is left."""

    budget_s: float


class ChildNews(Message, frozen=True, kw_only=True):
    """A supervisor to itself: something happened to a child (`what`: died, hung, started, start_failed, due)."""

    child: str
    incarnation: int
    what: str
    detail: str = ""


SupervisorInbox: TypeAlias = Tick | TopologyDiscovered | GetTree | RetryChild | StopTree | ChildNews


class GetApi(Message, frozen=True, kw_only=True):
    """Ask whether the API serves: answered with `Done`."""


ApiInbox: TypeAlias = Tick | GetApi


# --------------------------------------------------------------------------- how each travels

# Emergency stops overtake everything that waits.
URGENT: Final[frozenset[type[Message]]] = frozenset({StopsChanged, StopTree})


# Kind of message -> the fields that make its key: a newer one of the same key replaces a waiting older one. Kinds that
# are absent (all commands) are never replaced. The epoch belongs to a batch's key, so that a fenced writer's batch
# cannot displace its successor's. Of questions that coalesce, the newer's answer goes to both askers.
COALESCED: Final[Mapping[type[Message], tuple[str, ...]]] = {
    Tick: ("what",),
    Configure: (),
    Proposal: ("pump_id",),
    RoundDue: (),
    PlansWritten: (),
    DiscoverNow: (),
    ReadOpenAlarms: (),
    OpenAlarmsRead: (),
    ReadOpenFailsafes: ("site_id",),
    OpenFailsafesRead: (),
    SetpointsDecided: ("station_id", "epoch"),
    FeedbackReceived: ("source", "station_id"),
    PlanIntervals: ("pump_id",),
    SetpointDecided: ("pump_id",),
    StationDecisions: ("station_id",),
    PlanStatus: ("station_id",),
    EndpointStatus: ("protocol",),
    TopologyDiscovered: (),
}


def coalescing_key(message: Message) -> str | None:
    """Return the key under which a newer message replaces a waiting older one; None: never replaced."""
    fields = COALESCED.get(type(message))
    if fields is None:
        return None
    return ":".join((type(message).__name__, *(str(getattr(message, field)) for field in fields)))
