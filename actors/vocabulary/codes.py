"""Closed vocabularies; those with a `code` have a fixed number on the wire (documented by `calejo tags`)."""

from __future__ import annotations

from enum import IntEnum, StrEnum, unique


@unique
class ControlType(StrEnum):
    """How a pump's speed is found."""

    DIRECT_SPEED = "DIRECT_SPEED"
    LEVEL_CONTROLLED = "LEVEL_CONTROLLED"
    POWER_CONTROLLED = "POWER_CONTROLLED"


@unique
class FailsafeStrategy(StrEnum):
    """What a pump does in failsafe while the chain lives and feedback is good (WDG-3)."""

    DEFAULT_SETPOINT = "DEFAULT_SETPOINT"
    LEVEL_ON_OFF = "LEVEL_ON_OFF"
    HOLD_LAST = "HOLD_LAST"
    HAND_BACK = "HAND_BACK"


@unique
class HighLevelResponse(StrEnum):
    """What a station does at its emergency high level (SAF-2, rule 4)."""

    RUN_PERMITTED = "RUN_PERMITTED"
    HAND_BACK = "HAND_BACK"


@unique
class Scope(StrEnum):
    """What a stop or a failsafe covers."""

    PUMP = "PUMP"
    STATION = "STATION"
    SITE = "SITE"
    SYSTEM = "SYSTEM"


@unique
class Mode(IntEnum):
    """Who commands a pump; the number is the wire code. 0 is never a mode, so an unwritten register is none."""

    AUTO = 1
    MANUAL = 2
    LOCAL = 3
    OUT_OF_SERVICE = 4


@unique
class Quality(IntEnum):
    """Quality of a value; the number is the wire code. 0 is BAD, so an unwritten register is BAD."""

    BAD = 0
    UNCERTAIN = 1
    GOOD = 2


@unique
class Rule(StrEnum):
    """The kernel's rules by name, as trails and `calejo explain` show them (SAF-2)."""

    EMERGENCY_STOP = "emergency_stop"
    OUT_OF_SERVICE = "out_of_service"
    LOCAL = "local"
    DRY_RUN = "dry_run"
    HIGH_LEVEL = "high_level"
    FAILSAFE = "failsafe"
    PROTECTION_TIMERS = "protection_timers"
    ROTATION = "rotation"
    SUBSTITUTION = "substitution"
    ALTERNATION = "alternation"
    PROFILE = "profile"
    ASSIST = "assist"
    EXERCISE = "exercise"
    FLUSH = "flush"
    CLEAN_OUT = "clean_out"
    FLOW_FLOOR = "flow_floor"
    POWER_CAP = "power_cap"
    FLOW_CAP = "flow_cap"
    LEVEL_BAND = "level_band"
    SPEED_BAND = "speed_band"
    START_STEP = "start_step"
    RATE = "rate"
    SOFT_STOP = "soft_stop"
    MAX_RUNNING = "max_running"
    STAGGER = "stagger"
    STATION_POWER = "station_power"
    INVALID_PROPOSAL = "invalid_proposal"
    NOT_COMMISSIONED = "not_commissioned"
    HAND_BACK = "hand_back"
    FINAL_CHECK = "final_check"


@unique
class Reason(IntEnum):
    """Why the wire shows what it shows: the `reason` point. The number is the wire code and never changes meaning."""

    NOT_STARTED = 0
    PLAN = 1
    MANUAL = 2
    LIMITED = 3
    RAMP = 4
    EMERGENCY_STOP = 10
    OUT_OF_SERVICE = 11
    LOCAL = 12
    DRY_RUN = 13
    HIGH_LEVEL = 14
    MAX_RUNNING = 15
    STAGGER = 16
    LEVEL_BAND = 17
    PROTECTION_TIMER = 18
    ROTATED = 19
    FAILSAFE_PLAN_EXPIRED = 20
    FAILSAFE_OPTIMISER_STALE = 21
    FAILSAFE_DATABASE = 22
    FAILSAFE_INVALID_PROPOSAL = 23
    FAILSAFE_CHILD_QUARANTINED = 24
    FAILSAFE_OPERATOR = 25
    HANDED_BACK_FEEDBACK = 30
    HANDED_BACK_LEVEL = 31
    HANDED_BACK_PLC_HEARTBEAT = 32
    HANDED_BACK_STRATEGY = 33
    RECOVERING = 34
    HANDED_BACK_STORAGE = 35
    NOT_COMMISSIONED = 40
    LEASE_EXPIRED = 41
    EPOCH_REFUSED = 42
    FINAL_CHECK = 43
    HELD_STOPPED = 44
    STANDBY = 50
    ASSIST = 51
    EXERCISE = 52
    FLUSH = 53
    CLEAN_OUT = 54


@unique
class Severity(StrEnum):
    """How urgent an alarm or an audit record is."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


@unique
class Role(StrEnum):
    """What a process of the tree does (SUP-7)."""

    SUPERVISOR = "supervisor"
    SAFETY = "safety"
    PLAN = "plan"
    PUMP = "pump"
    STATION = "station"
    OPCUA = "opcua"
    MODBUS = "modbus"
    SPARKPLUG = "sparkplug"
    STORAGE = "storage"
    DISCOVERY = "discovery"
    WATCHDOG = "watchdog"
    ALARM = "alarm"
    API = "api"


@unique
class WriteRefusal(StrEnum):
    """Why a client's write was refused; each protocol has its own number for it."""

    READ_ONLY = "read_only"
    OUT_OF_RANGE = "out_of_range"
    BAD_TYPE = "bad_type"
    UNKNOWN_POINT = "unknown_point"
    NOT_PERMITTED = "not_permitted"
    INVALID_STATE = "invalid_state"
    DEVICE_FAILURE = "device_failure"
    STALE = "stale"
