"""Configuration: who wins over whom, what is refused and how it is said, what never leaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from actors.vocabulary import InvalidValueError, Settings
from actors.vocabulary.access import UserRole
from actors.vocabulary.callers import roles_named
from ops.settings import data_directory, environment_name, fields, load, schema
from ops.settings_document import MEANINGS, document
from storage.masking import masked

PAGE = Path(__file__).parents[3] / "ops" / "docs" / "configuration.md"


def write(tmp_path: Path, name: str, content: str) -> Path:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    return file


def loaded(
    file: Path | None = None, environment: dict[str, str] | None = None, options: dict[str, Any] | None = None
) -> Settings:
    return load(file=file, environment=environment or {}, options=options or {}).settings


def refusal(*arguments: Any) -> str:
    with pytest.raises(InvalidValueError) as raised:
        loaded(*arguments)
    text = str(raised.value)
    assert "\n" not in text, "one clear line"
    return text


def test_defaults_are_valid_and_the_data_directory_absolute() -> None:
    """CFG-1: nothing has to be configured."""
    settings = loaded()
    assert (settings.ports.opcua, settings.ports.modbus, settings.api.rest, settings.api.health) == (
        4840, 5020, 8080, 8081,
    )  # fmt: skip
    assert Path(settings.data_dir) == Path.cwd() / ".calejo"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.yaml", "ports: {modbus: 5021}\nsites:\n  south: {ports: {opcua: 4850, modbus: 5050}}\nlog:\n"),
        (
            "c.yml",
            "ports:\n  modbus: 5021\nsites:\n  south:\n    ports:\n      opcua: 4850\n      modbus: 5050\n",
        ),
        ("c.toml", "[ports]\nmodbus = 5021\n[sites.south.ports]\nopcua = 4850\nmodbus = 5050\n"),
        (
            "c.json",
            '{"ports": {"modbus": 5021}, "sites": {"south": {"ports": {"opcua": 4850, "modbus": 5050}}}}',
        ),
    ],
)
def test_every_kind_of_file_says_the_same(tmp_path: Path, name: str, content: str) -> None:
    """CFG-1: YAML, TOML or JSON."""
    settings = loaded(write(tmp_path, name, content))
    assert settings.ports.modbus == 5021
    assert settings.sites["south"].ports is not None
    assert settings.sites["south"].ports.modbus == 5050


def test_option_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    """CFG-1, issue 2 names: each source only where the one above is silent."""
    file = write(tmp_path, "c.yaml", "ports: {modbus: 1001, opcua: 1002}\napi: {rest: 1003}\n")
    environment = {"CALEJO_PORTS__MODBUS": "2001", "CALEJO_PORTS__OPCUA": "2002", "PATH": "/bin"}
    settings = loaded(file, environment, {"ports.modbus": 3001, "api.health": None})
    assert (settings.ports.modbus, settings.ports.opcua, settings.api.rest, settings.api.health) == (
        3001, 2002, 1003, 8081,
    )  # fmt: skip


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    """CFG-1: a file without a word is no error."""
    assert loaded(write(tmp_path, "c.yaml", "")) == loaded()


BAD: list[tuple[dict[str, str], list[str]]] = [
    ({"CALEJO_PORTS__MODBUS": "many"}, ["CALEJO_PORTS__MODBUS", "ports.modbus", "many", "int"]),
    ({"CALEJO_PORTS__MODBUS": "70000"}, ["ports.modbus", "70000", "65535"]),
    ({"CALEJO_PORTS__MODBUS": "8080"}, ["8080", "api.rest", "ports.modbus"]),
    ({"CALEJO_PORTS__HOST": "0.0.0.0"}, ["ports.host", "0.0.0.0", "loopback"]),
    ({"CALEJO_OPCUA__HOST": "example.org"}, ["opcua.host", "example.org", "address"]),
    ({"CALEJO_OPCUA__ALLOW_NONE": "true"}, ["opcua.allow_none", "opcua.anonymous_roles"]),
    ({"CALEJO_OPCUA__ANONYMOUS_ROLES": "FIELD, ROOT"}, ["opcua.anonymous_roles", "ROOT", "READ_ONLY"]),
    ({"CALEJO_OPCUA__CERTIFICATE": "/a.pem"}, ["opcua.private_key", "both"]),
    ({"CALEJO_OPCUA__SESSIONS_MAX": "0"}, ["opcua.sessions_max", "1 to 50"]),
    ({"CALEJO_OPCUA__SESSIONS_PER_ADDRESS_MAX": "51"}, ["opcua.sessions_per_address_max", "1 to 50"]),
    ({"CALEJO_API__HOST": "example.org"}, ["api.host", "loopback"]),
    ({"CALEJO_PROTS__MODBUS": "1"}, ["CALEJO_PROTS__MODBUS", "no such setting", "ports.modbus"]),
    ({"CALEJO_PORTS": "1"}, ["CALEJO_PORTS", "ports"]),
    ({"CALEJO_NONSENSE": "1"}, ["CALEJO_NONSENSE", "no such setting"]),
    ({"CALEJO_CONTROL__PERIOD_S": "nan"}, ["control.period_s", "nan", "finite"]),
    ({"CALEJO_CONTROL__PERIOD_S": "0"}, ["control.period_s", "0.0", "above 0"]),
    ({"CALEJO_CONTROL__PERIOD_S": "-1"}, ["control.period_s", "-1"]),
    ({"CALEJO_CONTROL__PERIOD_S": "inf"}, ["control.period_s", "inf"]),
    ({"CALEJO_CONTROL__SETPOINT_LEASE_S": "9"}, ["control.setpoint_lease_s", "9", "more than"]),
    ({"CALEJO_CONTROL__SETPOINT_LEASE_S": "61"}, ["control.setpoint_lease_s", "61", "60"]),
    ({"CALEJO_CONTROL__PERIOD_S": "4"}, ["control.setpoint_lease_s", "12"]),
    ({"CALEJO_CONTROL__LATCH_POLL_S": "2"}, ["control.latch_poll_s", "0.5"]),
    ({"CALEJO_CONTROL__GATE_BIND_AFTER_S": "5"}, ["control.gate_bind_after_s", "3"]),
    ({"CALEJO_CONTROL__FEEDBACK_FROZEN_S": "20"}, ["control.feedback_frozen_s", "feedback_stale_s"]),
    ({"CALEJO_CONTROL__OPTIMISER_SPEED_HZ_MIN": "46"}, ["control.optimiser_speed_hz_min", "46"]),
    ({"CALEJO_CONTROL__DATABASE_UNREACHABLE_S": "5"}, ["control.database_unreachable_s", "plan_poll_s"]),
    ({"CALEJO_LOG__LEVEL": "loud"}, ["log.level", "loud", "WARNING"]),
    ({"CALEJO_DATABASE__POOL_SIZE": "0"}, ["database.pool_size", "0"]),
    ({"CALEJO_DATABASE__SPOOL_BYTES_MAX": "1"}, ["database.spool_bytes_max", "1048576"]),
    ({"CALEJO_DATABASE__URL": "mysql://u@h/d"}, ["database.url", "mysql", "postgresql+psycopg"]),
    ({"CALEJO_DATABASE__URL": "sqlite+aiosqlite://"}, ["database.url", "file"]),
    ({"CALEJO_DATABASE__READER_URL": "postgresql+psycopg://u@h/d"}, ["database.reader_url", "same kind"]),
    ({"CALEJO_SITES__SOUTH__PORTS__MODBUS": "x"}, ["sites.south.ports.modbus", "x", "int"]),
    ({"CALEJO_SITES__SOUTH__PORTS__MODBUS": "5020"}, ["sites.south.ports", "ports.", "each needs its own"]),
    ({"CALEJO_SITES__SOUTH__COLOUR": "red"}, ["sites.south.colour", "no such setting"]),
    ({"CALEJO_SITES__SOUTH__PORTS__HOST": "::"}, ["sites.south.ports.host", "loopback"]),
]


@pytest.mark.parametrize(("environment", "named"), BAD)
def test_an_error_names_source_key_value_and_expectation(
    environment: dict[str, str], named: list[str]
) -> None:
    """CFG-1: an error names the key, the value and what was expected."""
    text = refusal(None, environment)
    assert all(word in text for word in named), text


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("c.yaml", "ports: {modbus: [1]}", ["c.yaml", "ports.modbus", "[1]", "int"]),
        ("c.yaml", "ports: 7", ["c.yaml", "ports", "7", "object"]),
        ("c.yaml", "prots: {modbus: 1}", ["c.yaml", "prots.modbus", "no such setting", "ports.modbus"]),
        ("c.yaml", "ports.modbus: 1", ["c.yaml", "ports.modbus"]),
        ("c.yaml", "1: 2", ["c.yaml", "1", "no such setting"]),
        ("c.yaml", "- a", ["c.yaml", "list"]),
        ("c.yaml", "sites: {Süd: {ports: {modbus: 1}}}", ["Süd", "site's id"]),
        ("c.toml", "ports = [", ["c.toml", "toml"]),
        ("c.json", "{", ["c.json", "json"]),
        ("c.ini", "", ["c.ini", ".yaml"]),
        ("c.json", "[" * 100_000, ["c.json"]),
        ("c.yaml", "x" * 1_100_000, ["c.yaml", "1048576"]),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, name: str, content: str, named: list[str]) -> None:
    """CFG-1: file, key, value and expectation."""
    text = refusal(write(tmp_path, name, content))
    assert all(word in text for word in named), text


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """CFG-1: a file that was asked for and is not there is an error."""
    assert "nowhere.yaml" in refusal(tmp_path / "nowhere.yaml")


def test_environment_and_file_meet_in_one_section(tmp_path: Path) -> None:
    """CFG-1: a key of the environment does not hide the rest of the file's section."""
    file = write(tmp_path, "c.yaml", "database: {pool_size: 9, connect_timeout_s: 1.5}")
    settings = loaded(file, {"CALEJO_DATABASE__POOL_SIZE": "2"})
    assert (settings.database.pool_size, settings.database.connect_timeout_s) == (2, 1.5)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "environment",
    [
        {"CALEJO_DATABASE__URL": f"postgresql+psycopg://calejo:{SECRET}@db/calejo"},
        {"CALEJO_DATABASE__URL": f"postgresql+psycopg://calejo@db/calejo?password={SECRET}&sslmode=require"},
        {"CALEJO_DATABASE__URL": f"postgresql+psycopg://db/calejo?sslpassword={SECRET}"},
    ],
)
def test_show_masks_every_secret(environment: dict[str, str]) -> None:
    """SEC-3: secrets never appear in `config show`, and the rest of the URL does."""
    shown = json.dumps(masked(loaded(None, environment)))
    assert SECRET not in shown
    assert "db/calejo" in shown


@pytest.mark.parametrize(
    "environment",
    [
        {"CALEJO_DATABASE__URL": f"mysql://u:{SECRET}@h/d"},
        {"CALEJO_DATABASE__URL": f"no url {SECRET}"},
        {"CALEJO_DATABASE__URL": f"postgresql+psycopg://u:{SECRET}@h:port/d"},
        {"CALEJO_DATABASE": f"postgresql+psycopg://u:{SECRET}@h/d"},
        {"CALEJO_DATABASE__POOL_SIZE": f"postgresql+psycopg://u:{SECRET}@h/d"},
        {"CALEJO_DATABASE__UR1": f"postgresql+psycopg://u:{SECRET}@h/d"},
        {
            "CALEJO_DATABASE__URL": f"postgresql+psycopg://u:{SECRET}@h/d",
            "CALEJO_DATABASE__READER_URL": f"sqlite+aiosqlite:///{SECRET}",
        },
    ],
)
def test_errors_mask_every_secret(environment: dict[str, str]) -> None:
    """SEC-3: secrets never appear in errors."""
    assert SECRET not in refusal(None, environment)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.yaml", f"database:\n  url: postgresql+psycopg://u:{SECRET}@h/d\n  : [\n"),
        ("c.yaml", f"database: {{url: 'postgresql+psycopg://u:{SECRET}@h/d\n"),
        ("c.yaml", f"database: {{url: [{SECRET}]}}"),
        ("c.toml", f'database.url = "postgresql+psycopg://u:{SECRET}@h/d'),
        ("c.json", f'{{"database": {{"url": "postgresql+psycopg://u:{SECRET}@h/d" "x"}}}}'),
    ],
)
def test_a_broken_file_is_not_quoted(tmp_path: Path, name: str, content: str) -> None:
    """SEC-3: a parser's error quotes the line; ours does not."""
    assert SECRET not in refusal(write(tmp_path, name, content))


# --------------------------------------------------------------------------- round trips

_PORTS = st.lists(st.integers(1, 65_535), min_size=6, max_size=6, unique=True)
_SECONDS = st.floats(0.001, 1e6, allow_nan=False).map(lambda value: float(f"{value:.6g}"))


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    ports = draw(_PORTS)
    site = draw(st.from_regex(r"[a-z0-9][a-z0-9]{0,10}", fullmatch=True))
    return {
        "data_dir": draw(st.from_regex(r"/[a-z]{1,10}( [a-z]{1,5})?", fullmatch=True)),
        "ports": {"opcua": ports[0], "modbus": ports[1]},
        "api": {"rest": ports[2], "health": ports[3]},
        "sites": {site: {"ports": {"opcua": ports[4], "modbus": ports[5]}}},
        "control": {"failsafe_recovery_hold_s": draw(_SECONDS), "manual_expiry_s": draw(_SECONDS)},
        "log": {"level": draw(st.sampled_from(["DEBUG", "INFO", "ERROR"]))},
    }


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out


@given(configurations())
def test_environment_file_and_options_mean_the_same(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]
) -> None:
    """CFG-1: whatever can be said in a file can be said in the environment and by options, and means the same."""
    folder = tmp_path_factory.mktemp("c")
    by_yaml = loaded(write(folder, "c.yaml", yaml.safe_dump(tree)))
    by_json = loaded(write(folder, "c.json", json.dumps(tree)))
    by_environment = loaded(None, {environment_name(key): str(value) for key, value in flat(tree).items()})
    by_option = loaded(None, None, flat(tree))
    assert by_yaml == by_json == by_environment == by_option


@given(configurations())
def test_what_is_shown_can_be_loaded_again(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]
) -> None:
    """CFG-1: `config show --format json` is itself a configuration file."""
    folder = tmp_path_factory.mktemp("c")
    settings = loaded(write(folder, "c.json", json.dumps(tree)))
    assert loaded(write(folder, "again.json", json.dumps(masked(settings)))) == settings


# --------------------------------------------------------------------------- the broker of Sparkplug


def broker(**values: Any) -> dict[str, Any]:
    return {f"sparkplug.{key}": value for key, value in values.items()}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (broker(host="broker.example"), "sparkplug.tls"),
        (broker(host="10.0.0.5", tls=False), "TLS only"),
        (broker(port=70_000), "sparkplug.port"),
        (broker(group=""), "part of an MQTT topic"),
        (broker(group="a/b"), "part of an MQTT topic"),
        (broker(primary_host="#"), "part of an MQTT topic"),
        (broker(primary_host="x" * 65), "part of an MQTT topic"),
        (broker(password="geheim"), "sparkplug.user"),
        (broker(user="u", password="geheim", password_file="/f"), "none beside sparkplug.password"),
        (broker(mqtt_version=4), "expected 5 or 3"),
        (broker(keepalive_s=0), "sparkplug.keepalive_s"),
        (broker(command_age_s=0.0), "sparkplug.command_age_s"),
        (broker(command_age_s=301.0), "sparkplug.command_age_s"),
        (broker(backfill_bytes_max=1_000), "sparkplug.backfill_bytes_max"),
    ],
)
def test_a_broker_that_cannot_be_is_named(given: dict[str, Any], said: str) -> None:
    """CFG-1, SEC-4, SPB-1: TLS to other machines, topics that MQTT can have, bounds; never the password."""
    text = refusal(None, None, given)
    assert said in text
    assert "geheim" not in text


def test_a_broker_by_tls_or_on_this_machine_is_taken() -> None:
    """SPB-1: the two ways to reach one; a password is masked when it is shown."""
    there = loaded(
        None, {"CALEJO_SPARKPLUG__PASSWORD": "geheim"}, broker(host="broker.example", tls=True, user="u")
    )
    assert (there.sparkplug.password, "geheim" in str(masked(there))) == ("geheim", False)
    assert loaded(None, None, broker(host="localhost")).sparkplug.host == "localhost"


# --------------------------------------------------------------------------- the documents


def test_the_page_is_made_from_the_code() -> None:
    """CFG-1: every key with type, unit, default, environment name and meaning."""
    assert PAGE.read_text(encoding="utf-8") == document()
    assert {key for key, _ in fields()} == set(MEANINGS)


def test_the_pages_example_is_a_valid_file(tmp_path: Path) -> None:
    """CFG-1: what the document shows works."""
    example = document().split("```yaml\n")[1].split("```")[0]
    assert loaded(write(tmp_path, "c.yaml", example)).sites["south"].ports is not None


def test_the_schema_accepts_what_is_in_force() -> None:
    """CFG-1: `config schema` is the JSON schema of the file."""
    described = schema()
    assert "$defs" in described
    assert set(described["$defs"]["Settings"]["properties"]) == set(msgspec.to_builtins(loaded()))
    assert described["$defs"]["Settings"]["additionalProperties"] is False


# --------------------------------------------------------------------------- the data directory alone


def test_the_data_directory_is_found_whatever_else_is_wrong(tmp_path: Path) -> None:
    """EST-1: `calejo estop` must not be stopped by a wrong port in the configuration."""
    file = write(tmp_path, "c.yaml", f"data_dir: {tmp_path}/data\nports: {{modbus: nonsense}}\n")
    assert data_directory(file=file, environment={}, option=None) == tmp_path / "data"
    environment = {"CALEJO_DATA_DIR": str(tmp_path / "other")}
    assert data_directory(file=file, environment=environment, option=None) == tmp_path / "other"
    assert data_directory(file=file, environment=environment, option=str(tmp_path)) == tmp_path
    broken = write(tmp_path, "d.yaml", "data_dir: [")
    assert data_directory(file=broken, environment=environment, option=None) == tmp_path / "other"
    with pytest.raises(InvalidValueError, match=r"d\.yaml"):
        data_directory(file=broken, environment={}, option=None)
    with pytest.raises(InvalidValueError, match="data_dir"):
        data_directory(file=write(tmp_path, "e.yaml", "data_dir: 7"), environment={}, option=None)


def test_opcua_reaches_other_machines_by_its_own_key() -> None:
    """OPC-1, OPC-4: with certificates and users every address of the machine may be served."""
    there = loaded(
        None, {"CALEJO_OPCUA__HOST": "0.0.0.0", "CALEJO_OPCUA__ANONYMOUS_ROLES": " field ,read_only"}
    )
    assert there.opcua.host == "0.0.0.0"
    assert roles_named(there.opcua.anonymous_roles) == {UserRole.FIELD, UserRole.READ_ONLY}
