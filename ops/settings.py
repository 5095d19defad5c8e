"""Loads the configuration: option, then environment, then file, then default; every error names its key (CFG-1)."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from actors.vocabulary import InvalidValueError
from actors.vocabulary.settings import Settings, SiteSettings
from ops.secrets import FOLDER as SECRETS_FOLDER
from ops.secrets import resolve_secrets
from ops.settings_relations import checked
from storage.masking import MASK

ENVIRONMENT_PREFIX: Final = "CALEJO_"
DEFAULT_DATA_DIR: Final = ".calejo"
_FILE_BYTES_MAX: Final = 1_048_576
_DEPTH_MAX: Final = 8
_SHOWN_MAX: Final = 80
_SECRET_KEYS: Final = ("database.url", "database.reader_url", "sparkplug.password", "access.signing_keys")
_NAMES_THE_FILE: Final = "CALEJO_CONFIG"
_NO_SETTINGS: Final = frozenset(
    {
        _NAMES_THE_FILE,
        SECRETS_FOLDER,
        "CALEJO_TOKEN",
        "CALEJO_PASSWORD",
        "CALEJO_PASSWORD_FILE",
        "CALEJO_NEW_PASSWORD",
    }
)
"""What the command line reads itself."""


class Loaded(NamedTuple):
    """The settings, and for each dotted key that was given where it came from; the others have their default."""

    settings: Settings
    sources: Mapping[str, str]


def load(*, file: Path | None, environment: Mapping[str, str], options: Mapping[str, Any]) -> Loaded:
    """Return the settings; `options` are dotted keys from the command line with values other than None.

    Environment keys are `CALEJO_` + the dotted key upper-cased with `__` for the dot: `CALEJO_PORTS__MODBUS=502`.

    Raises:
        InvalidValueError: a file cannot be read or a value is wrong; the text names source, key, value and expectation.

    """
    tree: dict[str, Any] = {"data_dir": DEFAULT_DATA_DIR}
    sources: dict[str, str] = {}
    if file is not None:
        _lay(tree, sources, _flat(_read(file), str(file)), source=str(file))
    _lay(tree, sources, _from_environment(environment), source="environment")
    _lay(tree, sources, {key: value for key, value in options.items() if value is not None}, source="option")
    resolve_secrets(tree, sources, environment)
    settings = _typed(tree, sources)
    settings = msgspec.structs.replace(settings, data_dir=str(Path(settings.data_dir).expanduser().resolve()))
    checked(settings, sources)
    return Loaded(settings, sources)


def data_directory(*, file: Path | None, environment: Mapping[str, str], option: str | None) -> Path:
    """Return the data directory alone, whatever else is wrong: an emergency stop does not wait for a good file.

    Raises:
        InvalidValueError: the file would have to say it, and cannot be read.

    """
    named: object = option or environment.get(f"{ENVIRONMENT_PREFIX}DATA_DIR")
    if not named and file is not None:
        named = _read(file).get("data_dir")
    if named is not None and not isinstance(named, str):
        raise InvalidValueError(f"{file}: key 'data_dir', value {_shown(named)}: expected `str`")
    return Path(named or DEFAULT_DATA_DIR).expanduser().resolve()


def environment_name(key: str) -> str:
    """Return the environment variable of a dotted key."""
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "__")


def schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration file."""
    return msgspec.json.schema(Settings)


def _read(file: Path) -> dict[str, Any]:
    try:
        raw = file.read_bytes()
    except OSError as error:
        text = f"configuration file {file}: cannot be read ({error.strerror})"
        raise InvalidValueError(text) from error
    if len(raw) > _FILE_BYTES_MAX:
        text = f"configuration file {file}: {len(raw)} bytes, at most {_FILE_BYTES_MAX} expected"
        raise InvalidValueError(text)
    try:
        match file.suffix.lower():
            case ".toml":
                content: Any = tomllib.loads(raw.decode())
            case ".json":
                content = json.loads(raw)
            case ".yaml" | ".yml":
                content = yaml.safe_load(raw)
            case other:
                text = f"configuration file {file}: ending {other!r}, expected .yaml, .yml, .toml or .json"
                raise InvalidValueError(text)
    except yaml.YAMLError as error:
        # Not the parser's own text: it quotes the line, and there may be a password in it.
        problem = getattr(error, "problem", None) or type(error).__name__
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        text = f"configuration file {file}: not readable as {file.suffix[1:]}: {problem}{place}"
        raise InvalidValueError(text) from None
    except (ValueError, RecursionError) as error:
        text = f"configuration file {file}: not readable as {file.suffix[1:]}: {' '.join(str(error).split())}"
        raise InvalidValueError(text) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        text = f"configuration file {file}: holds a {type(content).__name__}, expected sections with keys"
        raise InvalidValueError(text)
    return content


def _flat(tree: Mapping[Any, Any], source: str, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if not isinstance(key, str) or not key or "." in key or depth > _DEPTH_MAX:
            raise InvalidValueError(
                f"{source}: key {prefix}{_shown(key)}: no such setting (see `calejo config schema`)"
            )
        if isinstance(value, dict) and value:
            flat.update(_flat(value, source, f"{prefix}{key}.", depth + 1))
        elif value is not None or prefix:
            # A section with nothing under it is nothing in YAML, and means the defaults.
            flat[f"{prefix}{key}"] = value
    return flat


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", "."): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _NO_SETTINGS
    }


def _lay(tree: dict[str, Any], sources: dict[str, str], flat: Mapping[str, Any], *, source: str) -> None:
    for key, value in flat.items():
        told = f"environment {environment_name(key)}" if source == "environment" else source
        *sections, leaf = key.split(".")
        place = tree
        for section in sections:
            below = place.setdefault(section, {})
            if not isinstance(below, dict):
                raise InvalidValueError(f"{told}: key {key!r}: {section!r} is not a section")
            place = below
        if isinstance(place.get(leaf), dict) and not isinstance(value, dict):
            raise InvalidValueError(
                f"{told}: key {key!r}, value {_shown(value)}: expected a section with keys"
            )
        if not (isinstance(value, dict) and isinstance(place.get(leaf), dict)):
            place[leaf] = value
        sources[key] = told


def _typed(tree: dict[str, Any], sources: Mapping[str, str]) -> Settings:
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidValueError(_explained(error, tree, sources)) from None


def _explained(error: msgspec.ValidationError, tree: dict[str, Any], sources: Mapping[str, str]) -> str:
    """Return one line with source, key, value and expectation for what msgspec says with a path."""
    expectation, _, where = str(error).partition(" - at `$")
    key = where.rstrip("`").lstrip(".")
    if "[...]" in key:
        # msgspec does not name the site; find the one it stumbled over.
        for site_id, site in tree["sites"].items():
            try:
                msgspec.convert(site, SiteSettings, strict=False)
            except msgspec.ValidationError:
                key = key.replace("[...]", f".{site_id}")
                break
    if "unknown field" in expectation:
        key = f"{key}.{expectation.split('`')[1]}".lstrip(".")
        full = next((name for name in sources if name == key or name.startswith(f"{key}.")), key)
        near = difflib.get_close_matches(full, [known for known, _ in fields()], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see `calejo config schema`"
        return f"{sources.get(full, 'configuration')}: key {full!r}: no such setting ({hint})"
    value = MASK if key in _SECRET_KEYS else _shown(_value_at(tree, key))
    return f"{sources.get(key, 'configuration')}: key {key!r}, value {value}: {expectation}"


def fields() -> Iterator[tuple[str, msgspec.inspect.Field]]:
    """Yield every dotted key with its field, sections opened; a site's keys stand under `sites.<site_id>`."""
    yield from _fields(Settings, "")


def _fields(kind: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, msgspec.inspect.Field]]:
    described = msgspec.inspect.type_info(kind)
    assert isinstance(described, msgspec.inspect.StructType), "settings are structs"
    for field in described.fields:
        key = f"{prefix}{field.name}"
        below = field.type
        if isinstance(below, msgspec.inspect.DictType):
            key, below = f"{key}.<site_id>", below.value_type
        if isinstance(below, msgspec.inspect.UnionType):
            below = next(each for each in below.types if not isinstance(each, msgspec.inspect.NoneType))
        if isinstance(below, msgspec.inspect.StructType):
            yield from _fields(below.cls, f"{key}.")
        else:
            yield key, field


def _value_at(tree: Mapping[str, Any], key: str) -> Any:
    place: Any = tree
    for part in key.split("."):
        if not isinstance(place, dict) or part not in place:
            return None
        place = place[part]
    return place


def _shown(value: object) -> str:
    text = repr(value)
    # Somebody may have put the database's URL under another key.
    return "***" if "://" in text else text[:_SHOWN_MAX]


def from_process(file: Path | None, options: Mapping[str, Any]) -> Loaded:
    """Load with this process's environment; `CALEJO_CONFIG` names the file when `file` is None.

    Raises:
        InvalidValueError: as `load`.

    """
    return load(file=file or named_file(os.environ), environment=os.environ, options=options)


def named_file(environment: Mapping[str, str]) -> Path | None:
    """Return the configuration file that the environment names."""
    named = environment.get(_NAMES_THE_FILE)
    return Path(named) if named else None
