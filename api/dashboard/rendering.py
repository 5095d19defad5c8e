"""Pages from templates: everything is escaped, times are told in the plant's zone, numbers with their unit."""

from __future__ import annotations

import math
import zoneinfo
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from actors.vocabulary import Instant
from api.dashboard.files import Files
from api.dashboard.texts import Catalogue

FOLDER: Final = Path(__file__).parent / "templates"
NOTHING: Final = "–"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load and do: scripts and styles from our files alone, none inside a page."""

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3_600.0
_DAY_S: Final = 86_400.0
_ZONES_MAX: Final = 256


class Renderer:
    """The templates of this version."""

    def __init__(self, files: Files) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER),
            # Names come from a database: every value is hostile until it is escaped.
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals["asset"] = files.url
        self._environment.filters.update(
            number=number,
            age=age,
            clock=clock,
            day=day,
            moment=moment_of,
            parsed=parsed,
            zone_name=zone_name,
        )

    def page(self, template: str, texts: Catalogue, **values: Any) -> bytes:
        """Return a page as it is sent."""
        shown = self._environment.get_template(template).render(
            t=texts.text,
            own=texts.or_own,
            language=texts.language,
            scripts=texts.with_prefix("js."),
            **values,
        )
        return shown.encode()


def number(value: float | None, decimals: int = 1, unit: str = "") -> str:
    """Return a number with its unit, held together; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    shown = f"{value:.{decimals}f}"
    return f"{shown}\N{NO-BREAK SPACE}{unit}" if unit else shown


def age(seconds: float | None) -> str:
    """Return how long ago, as short as it may be told."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    held = max(seconds, 0.0)
    if held < _MINUTE_S:
        return f"{held:.0f}\N{NO-BREAK SPACE}s"
    if held < _HOUR_S:
        return f"{held / _MINUTE_S:.0f}\N{NO-BREAK SPACE}min"
    if held < _DAY_S:
        return f"{held / _HOUR_S:.1f}\N{NO-BREAK SPACE}h"
    return f"{held / _DAY_S:.1f}\N{NO-BREAK SPACE}d"


def clock(value: datetime | Instant | str | None, zone: str) -> Markup:
    """Return the time of day in `zone`, UTC on hover."""
    return _time(value, zone, "%H:%M:%S")


def day(value: datetime | Instant | str | None, zone: str) -> Markup:
    """Return date and time in `zone`, UTC on hover."""
    return _time(value, zone, "%Y-%m-%d %H:%M:%S")


def parsed(value: datetime | Instant | str | None) -> datetime | None:
    """Return a moment in UTC, None where it is none."""
    match value:
        case None:
            return None
        case Instant():
            return value.utc
        case datetime():
            return value.astimezone(UTC)
        case str():
            try:
                found = datetime.fromisoformat(value)
            except ValueError:
                return None
            return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)


def moment_of(value: datetime | Instant | str | None) -> str:
    """Return a moment as ISO 8601, '' where it is none."""
    found = parsed(value)
    return "" if found is None else found.isoformat(timespec="milliseconds")


def zone_name(value: datetime, zone: str) -> str:
    """Return what a zone is called at a moment, as beside every time of day (CET, CEST)."""
    return value.astimezone(_zone(zone)).tzname() or "UTC"


def _time(value: datetime | Instant | str | None, zone: str, form: str) -> Markup:
    found = parsed(value)
    if found is None:
        return Markup(NOTHING)  # noqa: S704  (a constant)
    local = found.astimezone(_zone(zone))
    return Markup('<time datetime="{at}" title="{utc} UTC">{shown} <span class="zone">{zone}</span></time>').format(
        at=found.isoformat(timespec="milliseconds"),
        utc=found.strftime("%Y-%m-%d %H:%M:%S"),
        shown=local.strftime(form),
        zone=local.tzname() or "UTC",
    )  # fmt: skip


@lru_cache(maxsize=_ZONES_MAX)
def _zone(name: str) -> zoneinfo.ZoneInfo | Any:
    """Return a zone, UTC for one that this machine does not know: then the page says UTC."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return UTC
