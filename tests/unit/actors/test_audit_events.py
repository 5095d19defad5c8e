"""The table of event types: whole, used, and the only source of names."""

import re
from pathlib import Path

import pytest

from actors.vocabulary.audit_events import EVENT_TYPES, FAILED_LOGINS, RESERVED, Category, clauses_of

ROOT = Path(__file__).parents[3]
PACKAGES = ("actors", "api", "ops", "protocols", "storage", "supervisors")
# Composed from parts where they are written: what of a stop, and the state that a proposal ends in.
COMPOSED = {
    "EMERGENCY_STOP_SET", "EMERGENCY_STOP_CLEARED", "OUT_OF_SERVICE_SET", "OUT_OF_SERVICE_CLEARED", "LIMITS_EXPIRED",
    "LIMITS_SUPERSEDED", "LIMITS_WITHDRAWN", "LIMITS_REJECTED",
}  # fmt: skip


def sources() -> str:
    own = ROOT / "actors" / "vocabulary" / "audit_events.py"
    return "\n".join(
        path.read_text("utf-8")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path != own
    )


def test_there_are_enough_and_each_says_what_it_needs() -> None:
    """AUD-2: at least 35 event types, each with meaning, severity and clauses of all three standards."""
    assert len(EVENT_TYPES) >= 35
    for name, event in EVENT_TYPES.items():
        assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", name)
        words = clauses_of(name).split()
        assert len(words) == len(set(words)) >= 3, name
        assert {word.partition(":")[0] for word in words} == {"IEC62443-4-2", "ISO27001", "NIS2"}, name
        assert event.meaning
    assert {event.category for event in EVENT_TYPES.values()} == set(Category)
    assert set(FAILED_LOGINS) <= EVENT_TYPES.keys()
    assert clauses_of("NEVER_HEARD_OF") == ""


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_each_is_written_somewhere_or_said_to_be_reserved(name: str) -> None:
    """AUD-2, SEC-5: the table lists nothing that Calejo does not write, but for the few names that are kept free."""
    assert name in COMPOSED or name in RESERVED or f'"{name}"' in sources()


def test_what_is_reserved_stands_in_the_table() -> None:
    """AUD-2: a reserved name is one of the table's, and few are."""
    assert set(EVENT_TYPES) >= RESERVED
    assert len(RESERVED) <= 1


def test_nothing_is_written_that_the_table_does_not_know() -> None:
    """AUD-2: every event type that stands in the code is in the table."""
    given = set(
        re.findall(
            r'(?:event_type\s*=\s*|_record\(\s*|record_of\(\s*|noting\.note\(\s*)"([A-Z_]+)"', sources()
        )
    )
    assert given - EVENT_TYPES.keys() == set()
    assert len(given) > 5
