"""The settings as they may be shown: every secret masked, everything else as it is in force (SEC-3).

Here and not where settings are loaded, because REST shows them too.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actors.vocabulary.settings import Settings

MASK: Final = "***"


def masked(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain data with every secret masked."""
    plain: dict[str, Any] = msgspec.to_builtins(settings)
    for key in ("url", "reader_url"):
        plain["database"][key] = without_password(plain["database"][key])
    for section, key in (("sparkplug", "password"), ("access", "signing_keys")):
        if plain[section][key]:
            plain[section][key] = MASK
    return plain


def without_password(url: str) -> str:
    """Return a database URL without its secrets; what is no URL is masked whole."""
    # A stop by the command line reads settings too, and does not wait for SQLAlchemy.
    from sqlalchemy.engine import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    if not url:
        return url
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return MASK
    secret = [name for name in parsed.query if "pass" in name.lower() or "key" in name.lower()]
    parsed = parsed.difference_update_query(secret)
    shown = parsed.render_as_string(hide_password=True)
    return f"{shown} ({', '.join(secret)} {MASK})" if secret else shown
