"""Goal: no alarm is told by its key: every condition that any actor may raise has a text in the catalogue (HMI-2).

Method: the conditions are read from the source that raises them; one that cannot be read there must be of a table.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

from actors.safety.telling import PUMP_CONDITIONS
from actors.storage import draining
from actors.watchdog.timers import Watch
from api.dashboard.texts import Texts
from supervisors import announcements

ROOT = Path(__file__).parents[4]
PACKAGES = ("actors", "api", "ops", "protocols", "storage", "supervisors")
TABLES = {*PUMP_CONDITIONS, *draining.CONDITIONS, *(each.value for each in Watch)}
TABLES |= {announcements.QUARANTINED, announcements.RESTARTED, announcements.UNWATCHED}
# Where a loop over one of the tables, or a book of its own, stands in for the word.
FROM_TABLES = {
    ("actors/safety/telling.py", "condition"),
    ("actors/watchdog/actor.py", "watch.value"),
    ("actors/storage/draining.py", "condition"),
    ("actors/plan/conditions.py", "key[0]"),
    ("supervisors/announcements.py", "standing.condition"),
}


def raised(file: Path) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the conditions that a module names, and what stands for one without naming it."""
    text = file.read_text("utf-8")
    if ".hold(" not in text and "AlarmAsserted(" not in text:
        return set(), set()
    place = file.relative_to(ROOT)
    module = importlib.import_module(".".join(place.with_suffix("").parts))
    named: set[str] = set()
    other: set[tuple[str, str]] = set()
    for call in ast.walk(ast.parse(text)):
        if not isinstance(call, ast.Call):
            continue
        word = _word(call)
        if word is None:
            continue
        if isinstance(word, ast.Constant) and isinstance(word.value, str):
            named.add(word.value)
            continue
        source = ast.unparse(word)
        parts = source.split(".")
        held: object = getattr(module, parts[0], None)
        for part in parts[1:]:
            held = getattr(held, part, None)
        if isinstance(held, str):
            named.add(held)
        else:
            other.add((str(place), source))
    return named, other


def _word(call: ast.Call) -> ast.expr | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    if name == "hold" and call.args:
        return call.args[0]
    if name == "AlarmAsserted":
        return next(each.value for each in call.keywords if each.arg == "condition")
    return None


def test_every_condition_has_a_text() -> None:
    """HMI-2, ALM-1: whatever raises an alarm, a person reads a sentence."""
    conditions, unread = set(TABLES), set()
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            named, other = raised(file)
            conditions |= named
            unread |= other
    assert unread == FROM_TABLES, "a condition that this test cannot read is one that nobody translates"
    assert {"pump_held_stopped", "latch_unreadable", "certificate_expiring", "invalid_row"} <= conditions
    english = Texts().wanted("en")
    missing = {each for each in conditions if english.or_own("condition", each) == each}
    assert missing == set()
