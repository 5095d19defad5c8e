"""The relations that settings must keep, and how a value that breaks one is named (CFG-1). Never shows a secret."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from typing import Final, NoReturn

from actors.vocabulary import InvalidValueError
from actors.vocabulary.callers import roles_named
from actors.vocabulary.ids import checked_id
from actors.vocabulary.settings import (
    LIVENESS_DEADLINE_S,
    LIVENESS_PERIOD_S,
    READBACK_BUDGET_S,
    START_BUDGET_S,
    ApiSettings,
    AuditSettings,
    ControlSettings,
    OpcUaSettings,
    Settings,
    SparkplugSettings,
)
from ops.modbus_settings import check_modbus

LOG_LEVELS: Final = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
DRIVERS: Final = ("sqlite+aiosqlite", "postgresql+psycopg")
_PORT_MAX: Final = 65_535
_SECONDS_MAX: Final = 31_536_000.0
_HZ_MAX: Final = 100.0
_SPOOL_BYTES_MIN: Final = 1_048_576
# The database itself forgets nothing that is younger than a day.
_DECISION_DAYS_MIN: Final = 2
_DECISION_DAYS_MAX: Final = 3_650
_MASK: Final = "***"
# EST-1: on the wire within 1 s; SAF-9: a gate binds 3 s after its start at the latest.
_LATCH_POLL_S_MAX: Final = 0.5
_BIND_AFTER_S_MAX: Final = 3.0
_LEASE_S_MAX: Final = 60.0
_TOPIC_PART_MAX: Final = 64
# What an OPC UA endpoint was measured with (OPC-6).
_SESSIONS_MAX: Final = 50
# A host should learn of our death within some minutes, whatever else is configured.
_KEEPALIVE_S_MAX: Final = 120
# A command that waited longer than this belongs to another situation.
_COMMAND_AGE_S_MAX: Final = 300.0
# Two clocks are read one after the other, and a process may wait in between.
_CLOCK_STEP_S_MIN: Final = 0.5
# Proposals that may be lost before a healthy pump loses its lease.
_TICKS_IN_A_LEASE: Final = 3
_RATE_MAX: Final = 100_000.0


class _Checker:
    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def refuse(self, key: str, value: object, expected: str) -> NoReturn:
        source = self._sources.get(key, "default")
        raise InvalidValueError(f"{source}: key {key!r}, value {value!r}: {expected}")

    def require(self, condition: bool, key: str, value: object, expected: str) -> None:
        if not condition:
            self.refuse(key, value, expected)


def checked(settings: Settings, sources: Mapping[str, str]) -> None:
    """Return if every value and relation holds; `sources` names where each key came from.

    Raises:
        InvalidValueError: one does not; the text names source, key, value and expectation.

    """
    check = _Checker(sources)
    for site_id in settings.sites:
        try:
            same = checked_id(site_id, place="sites") == site_id
        except InvalidValueError:
            same = False
        check.require(same, f"sites.{site_id}", site_id, "expected a site's id ([a-z0-9][a-z0-9_-]{0,39})")
    _network(settings, check)
    _control(settings.control, check)
    _database(settings, check)
    _sparkplug(settings.sparkplug, check)
    _audit(settings.audit, check)
    _access(settings, check)
    check_modbus(settings, check.require)
    days = settings.history.decisions_days
    check.require(
        _DECISION_DAYS_MIN <= days <= _DECISION_DAYS_MAX,
        "history.decisions_days",
        days,
        f"expected {_DECISION_DAYS_MIN} to {_DECISION_DAYS_MAX} days",
    )
    log = settings.log
    check.require(log.level in LOG_LEVELS, "log.level", log.level, f"expected one of {', '.join(LOG_LEVELS)}")
    check.require(log.rotation_mib >= 1, "log.rotation_mib", log.rotation_mib, "expected at least 1 MiB")
    check.require(log.retention_files >= 1, "log.retention_files", log.retention_files, "expected at least 1")


def _sparkplug(sparkplug: SparkplugSettings, check: _Checker) -> None:
    check.require(
        sparkplug.tls or not sparkplug.host or _is_loopback(sparkplug.host),
        "sparkplug.tls",
        sparkplug.tls,
        "expected true: a broker on another machine (sparkplug.host) is reached by TLS only",
    )
    check.require(
        0 <= sparkplug.port <= _PORT_MAX, "sparkplug.port", sparkplug.port, f"expected 0 to {_PORT_MAX}"
    )
    for name in ("group", "primary_host"):
        value = getattr(sparkplug, name)
        check.require(
            (bool(value) or name != "group")
            and len(value) <= _TOPIC_PART_MAX
            and value.isprintable()
            and not set("+/#") & set(value),
            f"sparkplug.{name}",
            value[:80],
            "expected a part of an MQTT topic (no +, / or #)",
        )
    check.require(
        not (sparkplug.password and sparkplug.password_file),
        "sparkplug.password_file",
        sparkplug.password_file,
        "expected none beside sparkplug.password",
    )
    check.require(
        bool(sparkplug.user) or not (sparkplug.password or sparkplug.password_file),
        "sparkplug.user",
        sparkplug.user,
        "expected one: there is a sparkplug.password or sparkplug.password_file",
    )
    check.require(
        sparkplug.mqtt_version in (3, 5), "sparkplug.mqtt_version", sparkplug.mqtt_version, "expected 5 or 3"
    )
    check.require(
        1 <= sparkplug.keepalive_s <= _KEEPALIVE_S_MAX,
        "sparkplug.keepalive_s",
        sparkplug.keepalive_s,
        f"expected 1 to {_KEEPALIVE_S_MAX} s",
    )
    check.require(
        math.isfinite(sparkplug.command_age_s) and 0.0 < sparkplug.command_age_s <= _COMMAND_AGE_S_MAX,
        "sparkplug.command_age_s",
        sparkplug.command_age_s,
        f"expected above 0, at most {_COMMAND_AGE_S_MAX:g} s",
    )
    check.require(
        sparkplug.backfill_bytes_max >= _SPOOL_BYTES_MIN,
        "sparkplug.backfill_bytes_max",
        sparkplug.backfill_bytes_max,
        f"expected at least {_SPOOL_BYTES_MIN}",
    )


def _network(settings: Settings, check: _Checker) -> None:
    hosts = [("ports.host", settings.ports.host)]
    hosts += [
        (f"sites.{name}.ports.host", site.ports.host) for name, site in settings.sites.items() if site.ports
    ]
    for key, host in hosts:
        check.require(
            _is_loopback(host),
            key,
            host,
            "expected a loopback address (127.0.0.1); opcua.host and modbus.host may be others",
        )
    _opcua(settings.opcua, check)
    _api(settings.api, check)
    tls = settings.modbus.tls
    seen: dict[int, str] = {}
    for key, port in _ports(settings):
        if key.endswith(".modbus_tls") and not tls:
            continue
        check.require(1 <= port <= _PORT_MAX, key, port, f"expected a port from 1 to {_PORT_MAX}")
        other = seen.setdefault(port, key)
        check.require(other == key, key, port, f"the same port as {other!r}; each needs its own")


def _opcua(opcua: OpcUaSettings, check: _Checker) -> None:
    check.require(
        not opcua.host or _is_address(opcua.host),
        "opcua.host",
        opcua.host,
        "expected an address (0.0.0.0: every one of this machine), or none: as ports.host",
    )
    try:
        roles_named(opcua.anonymous_roles)
    except InvalidValueError as error:
        check.refuse("opcua.anonymous_roles", opcua.anonymous_roles[:80], str(error))
    check.require(
        not opcua.allow_none or bool(opcua.anonymous_roles),
        "opcua.allow_none",
        opcua.allow_none,
        "expected false without opcua.anonymous_roles: without security nobody can show who they are",
    )
    check.require(
        bool(opcua.certificate) == bool(opcua.private_key),
        "opcua.private_key",
        opcua.private_key,
        "expected both certificate and private_key, or neither",
    )
    for name in ("sessions_max", "sessions_per_address_max"):
        value = getattr(opcua, name)
        check.require(
            1 <= value <= _SESSIONS_MAX, f"opcua.{name}", value, f"expected 1 to {_SESSIONS_MAX} sessions"
        )


def _api(api: ApiSettings, check: _Checker) -> None:
    """Beyond loopback REST goes with TLS, or behind a proxy that has it (SEC-4)."""
    check.require(
        _is_loopback(api.host) or _is_address(api.host),
        "api.host",
        api.host,
        "expected an address, such as loopback (127.0.0.1)",
    )
    check.require(
        _is_loopback(api.host) or api.tls or bool(api.trusted_proxy),
        "api.host",
        api.host,
        "expected a loopback address (127.0.0.1), or api.tls, or api.trusted_proxy",
    )
    check.require(
        not api.trusted_proxy or _is_address(api.trusted_proxy),
        "api.trusted_proxy",
        api.trusted_proxy,
        "expected the IP address from which the proxy connects",
    )
    for key in ("certificate", "private_key"):
        value = getattr(api, key)
        check.require(not value or api.tls, f"api.{key}", value, "expected none without api.tls")
    check.require(
        bool(api.certificate) == bool(api.private_key),
        "api.private_key",
        api.private_key,
        "expected both certificate and private_key, or neither",
    )
    for key in ("user_requests_per_s", "address_requests_per_s"):
        rate = getattr(api, key)
        check.require(
            rate == 0.0 or 1.0 <= rate <= _RATE_MAX, f"api.{key}", rate, f"expected 0, or 1 to {_RATE_MAX:g}"
        )
    for origin in filter(None, (part.strip() for part in api.cors_origins.split(","))):
        # A star would let every page ask; a path is no part of an origin.
        check.require(
            re.fullmatch(r"https?://[^/*?#@\s]+", origin) is not None,
            "api.cors_origins",
            origin,
            "expected origins such as https://scada.example, commas between",
        )


def _access(settings: Settings, check: _Checker) -> None:
    access = settings.access
    if access.signing_keys:
        from storage.keyring import configured_keys

        try:
            configured_keys(access.signing_keys)
        except InvalidValueError as error:
            check.refuse("access.signing_keys", _MASK, str(error))
    for name, low_s, high_s in (
        ("token_s", 60.0, 3_600.0),
        ("idle_s", 60.0, 86_400.0),
        ("session_s", 300.0, 604_800.0),
    ):
        value = getattr(access, name)
        check.require(
            math.isfinite(value) and low_s <= value <= high_s,
            f"access.{name}",
            value,
            f"expected {low_s:g} to {high_s:g} s",
        )
    check.require(
        access.token_s <= access.idle_s <= access.session_s,
        "access.idle_s",
        access.idle_s,
        "expected at least access.token_s, at most access.session_s",
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _ports(settings: Settings) -> Iterator[tuple[str, int]]:
    yield "ports.opcua", settings.ports.opcua
    yield "ports.modbus", settings.ports.modbus
    yield "ports.modbus_tls", settings.ports.modbus_tls
    yield "api.rest", settings.api.rest
    yield "api.health", settings.api.health
    for site_id, site in settings.sites.items():
        if site.ports is not None:
            yield f"sites.{site_id}.ports.opcua", site.ports.opcua
            yield f"sites.{site_id}.ports.modbus", site.ports.modbus
            yield f"sites.{site_id}.ports.modbus_tls", site.ports.modbus_tls


def _control(control: ControlSettings, check: _Checker) -> None:
    for name in control.__struct_fields__:
        value = getattr(control, name)
        check.require(
            math.isfinite(value) and 0.0 < value <= _SECONDS_MAX,
            f"control.{name}",
            value,
            f"expected a finite number above 0, at most {_SECONDS_MAX:.0f}",
        )
    lease_s, period_s = control.setpoint_lease_s, control.period_s
    needed_s = max(
        LIVENESS_PERIOD_S + LIVENESS_DEADLINE_S + START_BUDGET_S + READBACK_BUDGET_S,
        _TICKS_IN_A_LEASE * period_s,
    )
    low_hz, high_hz = control.optimiser_speed_hz_min, control.optimiser_speed_hz_max
    for name, holds, expected in (
        (
            "setpoint_lease_s",
            needed_s < lease_s <= _LEASE_S_MAX,
            f"expected more than {needed_s:g} s (a hang is noticed and replaced), at most {_LEASE_S_MAX:g} s",
        ),
        ("publish_refresh_s", control.publish_refresh_s <= 1.0, "expected at most 1 s"),
        (
            "latch_poll_s",
            control.latch_poll_s <= _LATCH_POLL_S_MAX,
            f"expected at most {_LATCH_POLL_S_MAX:g} s",
        ),
        (
            "gate_bind_after_s",
            control.gate_bind_after_s <= _BIND_AFTER_S_MAX,
            f"expected at most {_BIND_AFTER_S_MAX:g} s",
        ),
        ("feedback_stale_s", control.feedback_stale_s > period_s, "expected more than control.period_s"),
        (
            "feedback_frozen_s",
            control.feedback_frozen_s > control.feedback_stale_s,
            "expected more than control.feedback_stale_s",
        ),
        (
            "database_unreachable_s",
            control.database_unreachable_s > control.plan_poll_s,
            "expected more than control.plan_poll_s",
        ),
        (
            "clock_step_s",
            control.clock_step_s >= _CLOCK_STEP_S_MIN,
            f"expected at least {_CLOCK_STEP_S_MIN:g} s",
        ),
        ("optimiser_speed_hz_min", low_hz < high_hz, "expected less than control.optimiser_speed_hz_max"),
        ("optimiser_speed_hz_max", high_hz <= _HZ_MAX, f"expected at most {_HZ_MAX:g} Hz"),
    ):
        check.require(holds, f"control.{name}", getattr(control, name), expected)


def _database(settings: Settings, check: _Checker) -> None:
    database = settings.database
    check.require(database.pool_size >= 1, "database.pool_size", database.pool_size, "expected at least 1")
    for name in ("statement_timeout_s", "connect_timeout_s"):
        value = getattr(database, name)
        check.require(
            math.isfinite(value) and 0.0 < value <= _SECONDS_MAX,
            f"database.{name}",
            value,
            "expected a finite number above 0",
        )
    check.require(
        database.spool_bytes_max >= _SPOOL_BYTES_MIN,
        "database.spool_bytes_max",
        database.spool_bytes_max,
        f"expected at least {_SPOOL_BYTES_MIN}",
    )
    drivers = {key: _driver(key, getattr(database, key.partition(".")[2]), check) for key in (
        "database.url", "database.reader_url",
    )}  # fmt: skip
    if database.reader_url:
        check.require(
            drivers["database.url"] == drivers["database.reader_url"],
            "database.reader_url",
            _MASK,
            "expected the same kind of database as database.url",
        )


def _audit(audit: AuditSettings, check: _Checker) -> None:
    for name, least in (("checkpoint_records", 1), ("retention_days", 0), ("disk_free_mib_min", 0)):
        value = getattr(audit, name)
        check.require(value >= least, f"audit.{name}", value, f"expected at least {least}")
    check.require(
        math.isfinite(audit.checkpoint_s) and 0.0 < audit.checkpoint_s <= _SECONDS_MAX,
        "audit.checkpoint_s",
        audit.checkpoint_s,
        f"expected a finite number above 0, at most {_SECONDS_MAX:.0f}",
    )
    folder = audit.checkpoint_dir
    check.require(
        not folder or folder.startswith("/"), "audit.checkpoint_dir", folder, "expected an absolute path"
    )


def _driver(key: str, url: str, check: _Checker) -> str:
    if not url:
        return ""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        check.refuse(key, _MASK, "expected an SQLAlchemy URL")
    if parsed.drivername not in DRIVERS:
        check.refuse(
            key,
            parsed.drivername[:40],
            "expected sqlite+aiosqlite:///PATH or postgresql+psycopg://USER@HOST/NAME",
        )
    if parsed.drivername == DRIVERS[0] and parsed.database in {None, "", ":memory:"}:
        check.refuse(key, "sqlite without a file", "expected a file, which all processes share")
    return parsed.drivername
