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
    "CalejoError",
    "CallerError",
    "ControlSettings",
    "ControlType",
    "DeviceError",
    "FailsafeStrategy",
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
    "Topology",
    "UnavailableError",
    "UnknownSubjectError",
    "WriteRefusal",
]
