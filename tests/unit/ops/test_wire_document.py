"""The page about the wire is what the code says."""

from pathlib import Path

from ops.wire_document import document

PAGE = Path(__file__).parents[3] / "ops" / "docs" / "wire.md"


def test_the_page_is_made_from_the_code() -> None:
    """MOD-2, WDG-4: the documented map and codes are those of the program."""
    assert PAGE.read_text(encoding="utf-8") == document()
