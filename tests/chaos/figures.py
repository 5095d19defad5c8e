"""What these tests measured, kept for the pages that claim it: shown at the end of the run and left as JSON."""

from __future__ import annotations

from typing import Any

_FIGURES: dict[str, dict[str, Any]] = {}


def keep(requirement: str, what: str, value: object) -> None:
    """Remember a figure (seconds unless `what` says otherwise)."""
    _FIGURES.setdefault(requirement, {})[what] = round(value, 3) if isinstance(value, float) else value


def figures() -> dict[str, dict[str, Any]]:
    """Return all figures by requirement."""
    return _FIGURES
