"""What the documents point to exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted((ROOT / "ops" / "docs").glob("*.md"))
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def functions_of(path: Path) -> set[str]:
    """Return the names of the test functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    """BYD-5: a claim whose proof was renamed away is a claim without a proof."""
    for file, name in _TEST.findall(document.read_text(encoding="utf-8")):
        assert (ROOT / file).is_file(), f"{document.name}: {file} does not exist"
        assert name in functions_of(ROOT / file), f"{document.name}: {file} has no {name}"


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "README.md"], ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    """OPS-3: an operator at night follows a link."""
    for target in _LINK.findall(document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), f"{document.name}: {target} does not exist"


def test_every_claim_about_safety_has_a_proof() -> None:
    """BYD-5: each row of the table of claims names at least one test."""
    text = (ROOT / "ops" / "docs" / "safety.md").read_text(encoding="utf-8")
    rows = [
        line
        for line in text.split("## Claims")[1].split("## Failure modes")[0].splitlines()
        if line.startswith("| ")
    ]
    claims = rows[1:]
    assert len(claims) > 15
    for claim in claims:
        assert _TEST.search(claim), claim


def test_every_claim_about_security_has_a_proof() -> None:
    """SEC-1: as above, for users, access and certificates."""
    text = (ROOT / "ops" / "docs" / "security.md").read_text(encoding="utf-8")
    claims = [line for line in text.split("## Claims")[1].splitlines() if line.startswith("| ")][1:]
    assert len(claims) > 8
    for claim in claims:
        assert _TEST.search(claim), claim
