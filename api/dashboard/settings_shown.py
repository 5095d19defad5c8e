"""The settings in force as rows for people: by section, each with its default where it differs; pure (CFG-1, HMI-2)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actors.vocabulary import Settings

WHOLE: Final = ""
"""The section of keys that stand in none."""
_TEXT_MAX: Final = 300


class SettingShown(msgspec.Struct, frozen=True, kw_only=True):
    """A setting; `default` None: it has its default value."""

    key: str
    value: str
    default: str | None


def sections(settings: Settings) -> dict[str, tuple[SettingShown, ...]]:
    """Return every setting by section, in the order of the configuration's schema; `settings`: secrets masked."""
    plain: dict[str, Any] = msgspec.to_builtins(settings)
    usual: dict[str, Any] = msgspec.to_builtins(Settings(data_dir=settings.data_dir))
    found: dict[str, tuple[SettingShown, ...]] = {}
    for name, value in plain.items():
        if isinstance(value, dict) and isinstance(usual.get(name), dict) and usual[name]:
            found[name] = tuple(_shown(key, each, usual[name].get(key)) for key, each in value.items())
        else:
            found[WHOLE] = (*found.get(WHOLE, ()), _shown(name, value, usual.get(name)))
    return found


def _shown(key: str, value: Any, usual: Any) -> SettingShown:
    return SettingShown(key=key, value=_text(value), default=None if value == usual else _text(usual))


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"
