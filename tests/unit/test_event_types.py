"""Goal: one style for the event types of the audit log, so that people can search it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("actors", "api", "ops", "protocols", "storage", "supervisors")
GIVEN = re.compile(r"event_type\s*=\s*f?\"([^\"]+)\"")


def test_event_types_are_written_in_one_style() -> None:
    """AUD-2: upper case with underscores, wherever one is given; the search finds those that exist."""
    found = {
        event_type
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for event_type in GIVEN.findall(path.read_text("utf-8"))
    }
    assert {"MODE_SET", "MODE_EXPIRED", "WRITE_REFUSED", "SAFETY_LIMITS_APPLIED"} <= found
    constant = {re.sub(r"\{[^}]*\}", "X", event_type) for event_type in found}
    assert [
        event_type for event_type in sorted(constant) if not re.fullmatch(r"[A-Z][A-Z_]+", event_type)
    ] == []
