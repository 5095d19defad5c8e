"""The engineer's page says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from actors.limits import proposals as law
from actors.vocabulary.limits import LIMIT_KEYS

PAGE = Path(__file__).parents[3] / "ops" / "docs" / "limits.md"


def test_the_page_lists_every_key_as_it_is() -> None:
    """SAF-6: unit and direction of every limit, in the order in which they are shown."""
    listed = re.findall(r"^\| `(\w+)` \| (\S+) \| (HIGHER|LOWER) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert listed == [(key.name, key.unit, key.tighter.value) for key in LIMIT_KEYS.values()]


def test_the_page_says_how_long_a_proposal_waits() -> None:
    """SAF-6: seven days, a minute to 90 days."""
    assert (law.LIFE_S, law.LIFE_S_MIN, law.LIFE_S_MAX) == (7 * 86_400.0, 60.0, 90 * 86_400.0)
    assert "seven days" in PAGE.read_text("utf-8")
