"""The documents of the trail are made from the code, or checked against it."""

import hashlib
import re
from pathlib import Path

import pytest

from ops.audit_document import CONTROLS, compliance, events
from tests.unit.ops.audit.trail import ROOT

DOCS = ROOT / "ops" / "docs"


def test_the_specification_s_example_is_right() -> None:
    """AUD-1: whoever follows the page by hand gets the hash that stands there."""
    page = (DOCS / "audit.md").read_text("utf-8")
    found = re.search(r"```\n(\{\"actor\".*\})\n```\n\nand the hash `([0-9a-f]{64})`", page)
    assert found is not None
    text, told = found.groups()
    assert hashlib.sha256(f"calejo-audit/2\n{'0' * 64}\n1\n{text}".encode("ascii")).hexdigest() == told
    from storage.audit import link, row_of
    from tests.unit.storage.contract import audit_record

    assert link("0" * 64, 1, row_of(audit_record(1))) == told


@pytest.mark.parametrize(("name", "made"), [("audit-events.md", events), ("compliance.md", compliance)])
def test_what_is_made_from_code_is_up_to_date(name: str, made: object) -> None:
    """AUD-2, SEC-6: `python -m ops.audit_document` makes it anew."""
    assert callable(made)
    assert (DOCS / name).read_text("utf-8") == made()


def test_each_control_names_code_and_tests_that_exist() -> None:
    """SEC-6: a mapping that leads nowhere is none."""
    for control in CONTROLS:
        for path in (*control.code, *control.tests):
            assert (ROOT / path).exists(), f"{control.clause}: {path}"
        assert control.tests or not control.code, f"{control.clause}: mapped to code without a test"
        assert control.code or control.how.startswith("Not by Calejo"), control.clause


def test_the_mapping_claims_nothing() -> None:
    """SEC-6: worded as a mapping, never as a certification."""
    page = compliance()
    assert "no claim of conformity" in page
    assert not re.search(r"\b(is|are) (certified|compliant|conformant)\b|\bcomplies with\b", page)


def test_every_clause_of_an_event_is_in_the_mapping() -> None:
    """SEC-6: what a record names can be looked up."""
    from actors.vocabulary.audit_events import EVENT_TYPES

    mapped = {control.clause for control in CONTROLS}
    assert {clause for event in EVENT_TYPES.values() for clause in event.clauses} <= mapped


def test_the_decisions_that_the_page_names_exist() -> None:
    """AUD-1: links lead somewhere."""
    for link in re.findall(r"\]\(([^)#]+)\)", (DOCS / "audit.md").read_text("utf-8")):
        assert (DOCS / Path(link)).resolve().exists(), link


def test_no_control_denies_what_an_event_serves() -> None:
    """SEC-6: what the release records it has: a page that puts it off to a later one is as wrong as one that boasts."""
    from actors.vocabulary.audit_events import EVENT_TYPES, RESERVED

    served = {
        clause for name, event in EVENT_TYPES.items() if name not in RESERVED for clause in event.clauses
    }
    for control in CONTROLS:
        assert not re.search(r"\bwith users\b|\breserved\b|\bin this version\b", control.how), control.clause
        if control.clause in served:
            assert control.code, f"{control.clause}: an event serves it, and the page names no code"
