"""Writes `ops/docs/configuration.md` from the settings themselves, so that the page names every key and no other.

`python -m ops.settings_document > ops/docs/configuration.md` makes it anew; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ops import parameters_document
from ops.settings import environment_name, fields

_INTRODUCTION: Final = """\
# Configuration: every key, its unit, default and environment variable

Made from the code by `python -m ops.settings_document`; a test holds the two together.

An option of the command line wins over the environment, the environment over the file, the file over the default.
The file is YAML, TOML or JSON (by its ending), named by `--config` or `CALEJO_CONFIG`; a section with dots is a
section in the file: `ports.modbus` is `modbus` under `ports`. In the environment a dot is written as two underscores.
An unknown key, a wrong type and a value outside its bounds are errors that name source, key, value and expectation.
`${secret:name}` in `database.url`, `database.reader_url`, `access.signing_keys` and `sparkplug.password` stands for the
content of a file `name` in `CALEJO_SECRETS_DIR`, else in systemd's `CREDENTIALS_DIRECTORY`, else in `/run/secrets`; in
any other key it is refused.
`calejo config check` says whether a configuration is valid, `calejo config show` what is in force (secrets masked),
`calejo config schema` is the JSON schema of the file.

```yaml
data_dir: /var/lib/calejo
ports: {opcua: 4840, modbus: 5020}
database:
  url: postgresql+psycopg://calejo@db.example/calejo   # the password from the environment or a .pgpass file
control: {plan_poll_s: 5}
sites:
  south:                     # a second site on the same machine needs ports of its own
    ports: {opcua: 4841, modbus: 5021}
```
"""

MEANINGS: Final = {
    "data_dir": "Folder for latches, epochs, spool, SQLite file and `run.json`; relative to where Calejo is started",
    "ports.host": "Where OPC UA and Modbus listen unless `opcua.host` or `modbus.host` says otherwise; loopback only",
    "ports.opcua": "TCP port of OPC UA; `opc.tcp://0.0.0.0:4840`, for other machines, by `opcua.host: 0.0.0.0` alone",
    "ports.modbus": "TCP port of Modbus; 502 in production (a privileged port), 5020 out of the box",
    "ports.modbus_tls": "TCP port of Modbus/TLS, if it is on; 802 in production",
    "api.host": "Where REST listens; beyond loopback only with `api.tls` or `api.trusted_proxy`. Health listens"
    " there too while it is loopback, else on 127.0.0.1",
    "api.rest": "TCP port of REST",
    "api.health": "TCP port of health and metrics",
    "api.names": "Host names under which REST is called from elsewhere, with commas between; loopback names and the"
    " address itself always count",
    "api.tls": "REST speaks TLS (https)",
    "api.certificate": "PEM file of REST's certificate and its chain; empty: `certs/rest.pem` in the data directory. A"
    " file that changes is taken up within seconds",
    "api.private_key": "PEM file of its private key; empty: `certs/rest-key.pem` in the data directory",
    "api.trusted_proxy": "IP address of the reverse proxy that ends TLS: nobody else beyond loopback is answered,"
    " and its `X-Forwarded-For` counts",
    "api.cors_origins": "Origins (`https://scada.example`) whose pages may ask REST from a browser with a token of"
    " their own, commas between; empty: none",
    "api.user_requests_per_s": "Requests a second of one user, three seconds' worth at once; more are answered 429. An"
    " emergency stop is never counted. 0: no limit",
    "api.address_requests_per_s": "The same for one address, loopback excepted",
    "opcua.host": "Where OPC UA listens (`0.0.0.0`: on every address); empty: as `ports.host`",
    "opcua.allow_none": "Serve clients without any security; said at every start, needs `opcua.anonymous_roles`",
    "opcua.anonymous_roles": "Roles, commas between, of OPC UA clients that show neither name nor certificate; empty:"
    " nobody is let in so",
    "opcua.certificate": "PEM or DER file of the OPC UA server's certificate; empty: `certs/opcua.pem` in the data"
    " directory, made at the first start. A file that changes is taken up within seconds",
    "opcua.private_key": "PEM file of its private key; empty: `certs/opcua-key.pem` in the data directory",
    "opcua.sessions_max": "OPC UA sessions at a time, of each site's endpoint",
    "opcua.sessions_per_address_max": "OPC UA sessions at a time from one address",
    "access.signing_keys": "What signs tokens: secrets of at least 32 characters, commas between; the first signs, all"
    " verify. Empty: a file of the data directory. Takes `${secret:name}`",
    "access.token_s": "How long an access token is good for; 60 to 3600 s",
    "access.idle_s": "A session that is not refreshed for so long has expired",
    "access.session_s": "A session ends after this, whatever happens; at most 7 days",
    "database.url": "SQLAlchemy URL for writing (`sqlite+aiosqlite:///PATH`, `postgresql+psycopg://USER@HOST/NAME`);"
    " empty: `calejo.db` in the data directory",
    "database.reader_url": "The same database with the read-only role; empty: `database.url`",
    "database.pool_size": "Connections per process, at least 1",
    "database.statement_timeout_s": "A statement that takes longer is cancelled",
    "database.connect_timeout_s": "How long a connection may take to come about",
    "database.spool_bytes_max": "Room on disk for records while the database is away, at least 1 MiB",
    "control.period_s": "Period of a pump's control; at most a third of the lease",
    "control.setpoint_lease_s": "How long a setpoint is valid from the tick that made it; more than 9 s, at most 60 s",
    "control.failsafe_recovery_hold_s": "How long data must be good before failsafe or a hand-back ends",
    "control.feedback_stale_s": "Older feedback is not used for control; more than the period",
    "control.feedback_frozen_s": "A value that has not moved for so long is taken for frozen; more than stale",
    "control.plc_heartbeat_s": "A controller whose heartbeat stands longer is taken for lost",
    "control.scada_heartbeat_s": "A SCADA heartbeat that stands longer raises an alarm, once a client has written it",
    "control.optimiser_heartbeat_s": "An optimiser's heartbeat that is older counts as lost",
    "control.plan_poll_s": "How often plans are read",
    "control.discovery_interval_s": "How often configuration is read",
    "control.database_unreachable_s": "A database that has not answered for so long counts as unreachable; more than"
    " `plan_poll_s`",
    "control.decision_record_period_s": "An unchanged decision is recorded so often",
    "control.optimiser_speed_hz_min": "Plans below (other than 0) are refused",
    "control.optimiser_speed_hz_max": "Plans above are refused; at most 100 Hz",
    "control.manual_expiry_s": "A MANUAL without a duration ends after this",
    "control.latch_poll_s": "How often gates look into the latch folder; at most 0.5 s",
    "control.publish_refresh_s": "How often a gate recomputes what it shows; at most 1 s",
    "control.gate_bind_after_s": "A gate without a setpoint takes its port after this; at most 3 s",
    "control.setpoint_echo_s": "A controller whose setpoint echo has not agreed with the setpoint for so long raises an"
    " alarm, once it has written one",
    "control.clock_step_s": "A wall clock that moves by so much at once was set: an alarm; more than what a slow second"
    " of this machine explains, at least 0.5 s",
    "audit.checkpoint_records": "A checkpoint is signed after so many records, at least 1",
    "audit.checkpoint_s": "... or after so long, when there are new ones",
    "audit.checkpoint_dir": "Folder (absolute, on another machine) where checkpoints and public keys are kept as well;"
    " it must exist; empty: nowhere",
    "audit.retention_days": "`calejo audit archive` takes records older than this, and the alarm `audit_retention_due`"
    " tells of them; 0: no alarm, and only when told `--days`",
    "audit.disk_free_mib_min": "Less free space than this under the data directory raises an alarm; 0: never",
    "history.decisions_days": "How long decisions, and what the endpoints made of them, stay explainable; 2 to 3650."
    " The last decision before that stays too",
    "log.level": "TRACE, DEBUG, INFO, SUCCESS, WARNING, ERROR or CRITICAL",
    "log.rotation_mib": "A log file is closed at this size",
    "log.retention_files": "So many closed log files are kept",
    "runtime.forked_workers": "Start each process as a fork of one that has loaded everything: a quarter of the memory"
    " and of the time. Linux and Ray 2.60.0 only; elsewhere, and where anything is unexpected, processes start cold",
    "sparkplug.host": "MQTT broker of the Sparkplug edge nodes (`wire.md`); empty: there are none. Without TLS on this"
    " machine only",
    "sparkplug.port": "Its port; 0: 8883 with TLS, 1883 without",
    "sparkplug.group": "Group id of the edge nodes; the node id is the site's",
    "sparkplug.primary_host": "Host id to wait for; empty: values are sent whoever listens",
    "sparkplug.tls": "Encrypt and verify the broker (TLS 1.2 or newer)",
    "sparkplug.ca_file": "Certificates that the broker's must descend from; empty: the system's",
    "sparkplug.cert_file": "Our certificate, if the broker asks for one",
    "sparkplug.key_file": "Its key; empty: in `cert_file`",
    "sparkplug.user": "User at the broker; empty: none",
    "sparkplug.password": "Password at the broker: from the environment only, or better `password_file`",
    "sparkplug.password_file": "File that holds the password; read anew for each connection",
    "sparkplug.mqtt_version": "5, or 3 for MQTT 3.1.1 (then the broker must limit the size of messages)",
    "sparkplug.keepalive_s": "A connection that is silent for so long is probed; the broker tells of our death after"
    " one and a half times this",
    "sparkplug.operator_commands": "Obey `setpoint_request` and `mode_request` from hosts; whoever may write to our"
    " command topics is then an operator. Emergency stops are always obeyed",
    "sparkplug.command_age_s": "Older commands (but stops) are refused, and ones that are so far ahead",
    "sparkplug.backfill_bytes_max": "Room on disk per site for values that no host has seen, at least 1 MiB",
    "modbus.host": "Where Modbus listens; empty: `ports.host`. Beyond loopback only with `modbus.allow`, or by TLS"
    " alone",
    "modbus.allow": "Who is let in without TLS, and as what: `NETWORK=ROLE[+ROLE]`, commas between"
    " (`10.1.0.0/24=FIELD, 10.2.0.5=OPERATOR`); the narrowest network counts. Empty: this machine alone, as FIELD and"
    " OPERATOR. With a list this machine has to stand there, too",
    "modbus.plain": "Serve without TLS at `ports.modbus`",
    "modbus.tls": "Serve Modbus/TCP Security at `ports.modbus_tls`: certificates on both sides, the client's role in"
    " its own",
    "modbus.certificate": "PEM file of Modbus's certificate and its chain; empty: `certs/modbus.pem` in the data"
    " directory. A file that changes is taken up within seconds",
    "modbus.private_key": "PEM file of its private key; empty: `certs/modbus-key.pem` in the data directory",
    "modbus.client_ca": "PEM file of the authorities whose clients are let in; empty: `certs/ca.pem` in the data"
    " directory. When it changes every TLS client has to connect again",
    "modbus.client_crl": "PEM file of what those authorities revoked; empty: nothing is looked up",
    "modbus.clients_max": "Connections of one endpoint; in a full house one gives way to a newcomer",
    "modbus.clients_per_address_max": "Connections from one address (not counted: loopback)",
    "modbus.requests_per_s": "Reads, and as many writes, of one client (an address; on loopback a connection); twice as"
    " many at once. Emergency stops are not counted",
    "modbus.idle_s": "A connection that asks nothing for so long is closed; 5 to 3600 s",
    "sites.<site_id>.ports.host": "As `ports.host`, for this site's own endpoints",
    "sites.<site_id>.ports.opcua": "TCP port of this site's OPC UA",
    "sites.<site_id>.ports.modbus": "TCP port of this site's Modbus",
    "sites.<site_id>.ports.modbus_tls": "TCP port of this site's Modbus/TLS",
}
_UNITS: Final = (
    ("_hz_min", "Hz"),
    ("_hz_max", "Hz"),
    ("_bytes_max", "bytes"),
    ("_mib", "MiB"),
    ("_days", "days"),
    ("_s", "s"),
)


def document() -> str:
    """Return the page."""
    return "\n".join([*_lines(), *parameters_document.lines()])


def unit_of(key: str) -> str:
    """Return the unit that a key's name carries, '' if it has none."""
    return next((unit for ending, unit in _UNITS if key.endswith(ending)), "")


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    section = None
    for key, field in fields():
        if (head := key.partition(".")[0] if "." in key else "") != section:
            section = head
            yield f"\n## {f'`{section}`' if section else 'Top level'}\n"
            yield "| key | type | unit | default | environment | meaning |"
            yield "|---|---|---|---|---|---|"
        name = environment_name(key).replace("<SITE_ID>", "<ID>")
        yield (
            f"| `{key}` | {_type(field.type)} | {unit_of(key) or '–'} | {_default(key, field)} | `{name}`"
            f" | {MEANINGS[key]} |"
        )


def _type(described: msgspec.inspect.Type) -> str:
    match described:
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.IntType():
            return "whole number"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.FloatType():
            return "number"
        case _:
            raise TypeError(f"no word for {described!r} yet")


def _default(key: str, field: msgspec.inspect.Field) -> str:
    default: Any = field.default
    if key == "data_dir":
        default = ".calejo"
    if default == "":
        return "empty"
    return f"`{default}`"


if __name__ == "__main__":
    print(document(), end="")
