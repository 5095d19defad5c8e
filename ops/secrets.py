"""`${secret:name}` in a setting: the content of a file `name` in the folder of secrets (SEC-3).

The folder is `CALEJO_SECRETS_DIR`, else the one that systemd gives (`CREDENTIALS_DIRECTORY`), else /run/secrets, where
Docker and Kubernetes put them. Only settings that hold secrets take a reference, so that none is shown by accident.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from actors.vocabulary import InvalidValueError

FOLDER: Final = "CALEJO_SECRETS_DIR"
MAY_REFER: Final = ("database.url", "database.reader_url", "access.signing_keys", "sparkplug.password")
_BEGINS: Final = "${secret:"
_REFERENCE: Final = re.compile(r"\$\{secret:([^}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_BYTES_MAX: Final = 65_536


def resolve_secrets(tree: dict[str, Any], sources: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """Put the secrets in their places.

    Raises:
        InvalidValueError: one cannot be had; the text names key, name and file, never the content. Or another key
            refers to one: left as it stands, the reference itself would be taken for the value.

    """
    for key in _referring(tree):
        if key not in MAY_REFER:
            where = f"{sources.get(key, 'configuration')}: key {key!r}"
            raise InvalidValueError(f"{where}: takes no ${{secret:…}}, only {', '.join(MAY_REFER)} do")
    folder = Path(environment.get(FOLDER) or environment.get("CREDENTIALS_DIRECTORY") or "/run/secrets")
    for key in MAY_REFER:
        section, _, leaf = key.partition(".")
        place = tree.get(section)
        value = place.get(leaf) if isinstance(place, dict) else None
        if isinstance(place, dict) and isinstance(value, str) and "${" in value:
            source = sources.get(key, "configuration")

            def content(found: re.Match[str], source: str = source, key: str = key) -> str:
                return _read(folder, found[1], f"{source}: key {key!r}")

            place[leaf] = _REFERENCE.sub(content, value)


def _referring(place: Any, key: str = "") -> Iterator[str]:
    """Yield the dotted keys whose values refer to a secret."""
    if isinstance(place, dict):
        for name, value in place.items():
            yield from _referring(value, f"{key}.{name}" if key else str(name))
    elif isinstance(place, list):
        for value in place:
            yield from _referring(value, key)
    elif isinstance(place, str) and _BEGINS in place:
        yield key


def _read(folder: Path, name: str, where: str) -> str:
    if _NAME.match(name) is None:
        raise InvalidValueError(f"{where}: secret {name[:60]!r}: no name of a file in {folder}")
    try:
        with (folder / name).open("rb") as file:
            content = file.read(_BYTES_MAX).decode("utf-8").strip()
    except OSError as error:
        raise InvalidValueError(f"{where}: secret {name!r}: {folder / name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidValueError(f"{where}: secret {name!r}: {folder / name}: holds no text") from None
    if not content:
        raise InvalidValueError(f"{where}: secret {name!r}: {folder / name}: empty")
    return content
