"""The one leaf that every layer may import: ids, time, codes, plant, records, settings, errors."""

from actors.vocabulary.codes import (
    ControlType,
    FailsafeStrategy,
    HighLevelResponse,
    Mode,
    Quality,
    Reason,
    Role,
    Rule,
    Scope,
    Severity,
    WriteRefusal,
)
from actors.vocabulary.duties import (
    Alternation,
    Assist,
    CleanOut,
    DutyProfile,
    Exercise,
    Flush,
    StationDuties,
)
from actors.vocabulary.errors import (
    CalejoError,
    CallerError,
    DeviceError,
    InvalidValueError,
    NotRememberedError,
    RefusedError,
    UnavailableError,
    UnknownSubjectError,
)
from actors.vocabulary.ids import Address
from actors.vocabulary.instant import Instant
from actors.vocabulary.plant import (
    InvalidRow,
    PumpConfig,
    SafetyLimits,
    SiteConfig,
    StationConfig,
    Topology,
)
from actors.vocabulary.settings import ControlSettings, Settings

__all__ = [
    "Address",
    "Alternation",
    "Assist",
    "CalejoError",
    "CallerError",
    "CleanOut",
    "ControlSettings",
    "ControlType",
    "DeviceError",
    "DutyProfile",
    "Exercise",
    "FailsafeStrategy",
    "Flush",
    "HighLevelResponse",
    "Instant",
    "InvalidRow",
    "InvalidValueError",
    "Mode",
    "NotRememberedError",
    "PumpConfig",
    "Quality",
    "Reason",
    "RefusedError",
    "Role",
    "Rule",
    "SafetyLimits",
    "Scope",
    "Settings",
    "Severity",
    "SiteConfig",
    "StationConfig",
    "StationDuties",
    "Topology",
    "UnavailableError",
    "UnknownSubjectError",
    "WriteRefusal",
]
