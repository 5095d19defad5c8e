"""The page about permissions is what the code says."""

import json
from pathlib import Path

import pytest

from actors.vocabulary.access import PERMISSIONS, UserRole
from ops.access_document import document
from ops.cli.main import main

PAGE = Path(__file__).parents[3] / "ops" / "docs" / "permissions.md"


def test_the_page_is_made_from_the_code() -> None:
    """SEC-2: one permission table, printed in the docs from the code."""
    assert PAGE.read_text(encoding="utf-8") == document()


def test_the_command_prints_the_same_table(capsys: pytest.CaptureFixture[str]) -> None:
    """SEC-2: one table, whoever asks."""
    assert main(["users", "permissions", "--format", "json"]) == 0
    rows = {row["operation"]: row for row in json.loads(capsys.readouterr().out)}
    assert {(operation, role) for operation, row in rows.items() for role in UserRole if row[role.value]} == {
        (operation.value, role) for operation, row in PERMISSIONS.items() for role in row.roles
    }
