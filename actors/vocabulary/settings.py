"""Every setting that an actor can see, with unit, default and the relations that must hold between them (CFG-1).

`ops.settings` fills these from environment, file and defaults; nothing else makes them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.vocabulary.sources import plain

LIVENESS_PERIOD_S: Final = 1.0
LIVENESS_DEADLINE_S: Final = 3.0
START_BUDGET_S: Final = 2.0
READBACK_BUDGET_S: Final = 3.0
SETPOINT_LEASE_S: Final = 10.0
# A lease must outlive a hang that is noticed, killed and replaced, or every restart would stop a healthy pump.
assert SETPOINT_LEASE_S > LIVENESS_PERIOD_S + LIVENESS_DEADLINE_S + START_BUDGET_S + READBACK_BUDGET_S


class ControlSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Periods, leases and ages of the control path, all in seconds unless the name says otherwise."""

    period_s: float = 1.0
    setpoint_lease_s: float = SETPOINT_LEASE_S
    failsafe_recovery_hold_s: float = 60.0
    feedback_stale_s: float = 30.0
    feedback_frozen_s: float = 300.0
    plc_heartbeat_s: float = 10.0
    scada_heartbeat_s: float = 60.0
    optimiser_heartbeat_s: float = 1200.0
    plan_poll_s: float = 5.0
    discovery_interval_s: float = 60.0
    database_unreachable_s: float = 60.0
    decision_record_period_s: float = 60.0
    optimiser_speed_hz_min: float = 25.0
    optimiser_speed_hz_max: float = 45.0
    manual_expiry_s: float = 3600.0
    latch_poll_s: float = 0.2
    publish_refresh_s: float = 0.1
    gate_bind_after_s: float = 3.0
    setpoint_echo_s: float = 10.0
    clock_step_s: float = 2.0


class PortSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one site's endpoints listen, unless `opcua.host` or `modbus.host` says otherwise: loopback only."""

    host: str = "127.0.0.1"
    opcua: int = 4840
    modbus: int = 5020
    modbus_tls: int = 5802


class ModbusSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may come to the Modbus endpoints, and how (MOD-1, MOD-4). `host` empty: where `ports.host` says."""

    host: str = ""
    allow: str = ""
    plain: bool = True
    tls: bool = False
    certificate: str = ""
    private_key: str = ""
    client_ca: str = ""
    client_crl: str = ""
    clients_max: int = 64
    clients_per_address_max: int = 16
    requests_per_s: float = 1000.0
    idle_s: float = 60.0


class SiteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one site has of its own; `ports` None means the common ones, which only one site can have."""

    ports: PortSettings | None = None


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where REST and health listen. REST beyond loopback only with `tls` or behind `trusted_proxy` (SEC-4)."""

    host: str = "127.0.0.1"
    rest: int = 8080
    health: int = 8081
    names: str = ""
    tls: bool = False
    certificate: str = ""
    private_key: str = ""
    trusted_proxy: str = ""
    cors_origins: str = ""
    user_requests_per_s: float = 100.0
    address_requests_per_s: float = 200.0


def health_host(api: ApiSettings) -> str:
    """Return where health listens: beside REST on loopback, and on loopback alone when REST is reached from outside.

    It knows no users and speaks no TLS.
    """
    return api.host if api.host == "localhost" or is_loopback(api.host) else "127.0.0.1"


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own; a name is none."""
    try:
        return plain(host).is_loopback
    except ValueError:
        return False


class AccessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long tokens and sessions live, and what signs them; empty `signing_keys`: a file in the data directory."""

    signing_keys: str = ""
    token_s: float = 600.0
    idle_s: float = 1800.0
    session_s: float = 43_200.0


class OpcUaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may connect by OPC UA, and how (OPC-4, OPC-5). `host` '': where `ports.host` says.

    `anonymous_roles`: roles, commas between, of whoever shows neither name nor certificate; '': nobody is let in so.
    `certificate` and `private_key` '': those of the data directory.
    """

    host: str = ""
    allow_none: bool = False
    anonymous_roles: str = ""
    certificate: str = ""
    private_key: str = ""
    sessions_max: int = 50
    sessions_per_address_max: int = 50


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SQLAlchemy URLs; empty means `<data-dir>/calejo.db`. The reader's role may only SELECT on PostgreSQL."""

    url: str = ""
    reader_url: str = ""
    pool_size: int = 4
    statement_timeout_s: float = 5.0
    connect_timeout_s: float = 3.0
    spool_bytes_max: int = 268_435_456


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the audit trail is signed, where the signatures are kept as well, how long records stay (AUD-1, AUD-3)."""

    checkpoint_records: int = 1000
    checkpoint_s: float = 3600.0
    checkpoint_dir: str = ""
    retention_days: int = 0
    disk_free_mib_min: int = 512


class HistorySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long what was decided stays explainable, in days; the last decision before that stays as well."""

    decisions_days: int = 31


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how much is logged."""

    level: str = "INFO"
    rotation_mib: int = 10
    retention_files: int = 5


class RuntimeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How processes are run."""

    forked_workers: bool = True


class SparkplugSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The MQTT broker of the Sparkplug edge nodes; without `host` there is none. `port` 0: 8883 with TLS, else 1883."""

    host: str = ""
    port: int = 0
    group: str = "calejo"
    primary_host: str = ""
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    user: str = ""
    password: str = ""
    password_file: str = ""
    mqtt_version: int = 5
    keepalive_s: int = 10
    operator_commands: bool = False
    command_age_s: float = 10.0
    backfill_bytes_max: int = 134_217_728


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration of one `calejo run`."""

    data_dir: str
    ports: PortSettings = PortSettings()
    api: ApiSettings = ApiSettings()
    access: AccessSettings = AccessSettings()
    opcua: OpcUaSettings = OpcUaSettings()
    database: DatabaseSettings = DatabaseSettings()
    control: ControlSettings = ControlSettings()
    audit: AuditSettings = AuditSettings()
    history: HistorySettings = HistorySettings()
    log: LogSettings = LogSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    sparkplug: SparkplugSettings = SparkplugSettings()
    modbus: ModbusSettings = ModbusSettings()
    sites: dict[str, SiteSettings] = msgspec.field(default_factory=dict)


def modbus_host(settings: Settings, ports: PortSettings) -> str:
    """Return where Modbus listens for a site with these ports."""
    return settings.modbus.host or ports.host


PORT_PROTOCOLS: Final = ("opcua", "modbus")
"""Endpoints that every site has: they bind a port."""


def protocols_of(settings: Settings) -> tuple[str, ...]:
    """Return the endpoints of every site under these settings, in the order of the tree."""
    return (*PORT_PROTOCOLS, "sparkplug") if settings.sparkplug.host else PORT_PROTOCOLS
