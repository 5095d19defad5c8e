"""The documents of the trail are made from the code, or checked against it."""

import ast
import hashlib
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest

from actors.storage import guarding
from actors.vocabulary import Severity
from actors.vocabulary.audit_events import EVENT_TYPES
from ops.audit_document import CONTROLS, PAGES, page
from ops.cli.main import build_parser
from ops.compliance import component_requirements
from ops.compliance.asvs import REQUIREMENTS, SECTIONS
from ops.compliance.response import ORDINARY, RESPONSES
from ops.compliance.risk import RISKS, Asset
from tests.unit.ops.audit.trail import ROOT

DOCS = ROOT / "ops" / "docs"


def test_the_specification_s_example_is_right() -> None:
    """AUD-1: whoever follows the page by hand gets the hash that stands there."""
    specified = (DOCS / "audit.md").read_text("utf-8")
    found = re.search(r"```\n(\{\"actor\".*\})\n```\n\nand the hash `([0-9a-f]{64})`", specified)
    assert found is not None
    text, told = found.groups()
    assert hashlib.sha256(f"calejo-audit/2\n{'0' * 64}\n1\n{text}".encode("ascii")).hexdigest() == told
    from storage.audit import link, row_of
    from tests.unit.storage.contract import audit_record

    assert link("0" * 64, 1, row_of(audit_record(1))) == told


@pytest.mark.parametrize("name", PAGES)
def test_what_is_made_from_code_is_up_to_date(name: str) -> None:
    """AUD-2, SEC-6: `python -m ops.audit_document` makes it anew."""
    assert (DOCS / name).read_text("utf-8") == page(name)


def test_each_control_names_code_and_tests_that_exist() -> None:
    """SEC-6: a mapping that leads nowhere is none."""
    for control in CONTROLS:
        for path in (*control.code, *control.tests):
            assert (ROOT / path).exists(), f"{control.clause}: {path}"
        assert control.tests or not control.code, f"{control.clause}: mapped to code without a test"
        assert control.code or control.how.startswith("Not"), control.clause
        assert not (control.code and control.how.startswith("Not")), f"{control.clause}: both not and mapped"


def test_every_component_requirement_is_listed() -> None:
    """SEC-6: what Calejo has not got stands there too; requirements of devices, hosts and networks alone do not."""
    numbers = {1: [*range(1, 6), *range(7, 13), 14], 2: [1, 2, 3, *range(5, 13)], 3: [1, *range(3, 10)],
               4: [1, 2, 3], 5: [1, 4], 6: [1, 2], 7: range(1, 9)}  # fmt: skip
    expected = {f"CR {chapter}.{number}" for chapter, found in numbers.items() for number in found}
    listed = [control.clause for control in component_requirements.CONTROLS]
    assert len(listed) == len(set(listed))
    assert set(listed) == expected | {"SAR 2.4", "SAR 3.2"}


def test_the_mapping_says_what_is_so_today() -> None:
    """SEC-6: sentences that were untrue once and could become so again."""
    told = {control.clause: control for control in CONTROLS}
    assert "a restart forgets nothing" in told["CR 1.11"].how
    assert "tests/unit/api/access/test_limits_of_asking.py" in told["CR 1.11"].tests
    for clause in ("CR 4.3", "A.8.24"):
        assert all(word in told[clause].how for word in ("Ed25519", "TLS", "HS256", "argon2id")), clause


def functions_named(names: Iterable[str]) -> set[str]:
    """Those of `file::function` that are not there."""
    missing = set()
    for name in names:
        file, _, function = name.partition("::")
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        there = {
            each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        if function not in there:
            missing.add(name)
    return missing


def test_every_asset_has_risks_with_tests_and_what_is_left() -> None:
    """SEC-6: a risk without a control, a control without a test, or a residue without a reason is no assessment."""
    assert {each.asset for each in RISKS} == set(Asset)
    assert functions_named({name for each in RISKS for name in each.tests}) == set()
    assert all(each.control and each.tests and each.why for each in RISKS)
    assert len({(each.asset, each.threat) for each in RISKS}) == len(RISKS)


def test_every_serious_record_has_somebody_who_acts() -> None:
    """SEC-6: each type of record that is usually HIGH or CRITICAL is answered, or named as ordinary work."""
    answered = {name for each in RESPONSES for name in each.events}
    assert answered | ORDINARY.keys() <= EVENT_TYPES.keys()
    serious = {
        name for name, event in EVENT_TYPES.items() if event.severity in {Severity.HIGH, Severity.CRITICAL}
    }
    assert serious - answered - ORDINARY.keys() == set()
    assert not answered & ORDINARY.keys()


def test_every_alarm_that_is_answered_is_one() -> None:
    """SEC-6: conditions are words of the code; those of the trail are all answered but the one that is a reminder."""
    code = "".join(
        path.read_text("utf-8")
        for folder in ("actors", "supervisors")
        for path in (ROOT / folder).rglob("*.py")
    )
    named = {name for each in RESPONSES for name in each.alarms}
    assert {name for name in named if f'"{name}"' not in code} == set()
    assert set(guarding.CONDITIONS) - named == {guarding.RETENTION_DUE}


PLACEHOLDERS = {"TIME": "2026-11-21T06:15", "30s": "30s", "KEY=VALUE": "level_max_m=3.1"}


@pytest.mark.parametrize(
    "command", sorted({step.command for each in RESPONSES for step in each.steps if step.command})
)
def test_every_command_of_the_response_is_one(command: str) -> None:
    """SEC-6: whoever types it at night is not told that there is no such option."""
    program, *words = shlex.split(command)
    assert program == "calejo"
    asked = build_parser().parse_args([PLACEHOLDERS.get(word, word) for word in words])
    assert ":" in asked.command


def test_the_clock_of_the_response_is_that_of_the_export() -> None:
    """SEC-6: 24 h, 72 h and a month, as `calejo incident export` counts them."""
    told = page("incident-response.md")
    for at in ("2026-11-21 06:15", "2026-11-22 06:15", "2026-11-24 06:15", "2026-12-24 06:15"):
        assert f"{at} UTC" in told


def test_the_asvs_is_counted_whole() -> None:
    """SEC-1: each requirement of levels 1 and 2 is met, not met or not asked; what is met has a test that exists."""
    assert sum(each.size for each in SECTIONS) == REQUIREMENTS
    assert len({each.number for each in SECTIONS}) == len(SECTIONS)
    assert functions_named({name for each in SECTIONS for name in each.tests}) == set()
    for each in SECTIONS:
        assert not each.lacks.keys() & each.absent, each.number
        assert max([*each.lacks, *each.absent, 0]) <= each.size, each.number
        assert all(each.lacks.values()), each.number
        assert bool(each.tests) is (len(each.absent) < each.size), each.number


def test_the_mapping_claims_nothing() -> None:
    """SEC-6: worded as a mapping, never as a certification."""
    for name in PAGES:
        told = page(name)
        assert not re.search(r"\b(is|are) (certified|compliant|conformant)\b|\bcomplies with\b", told), name
    assert "no claim of conformity" in page("compliance.md")


def test_every_clause_of_an_event_is_in_the_mapping() -> None:
    """SEC-6: what a record names can be looked up."""
    mapped = {control.clause for control in CONTROLS}
    assert {clause for event in EVENT_TYPES.values() for clause in event.clauses} <= mapped


def test_the_decisions_that_the_page_names_exist() -> None:
    """AUD-1: links lead somewhere."""
    for link in re.findall(r"\]\(([^)#]+)\)", (DOCS / "audit.md").read_text("utf-8")):
        assert (DOCS / Path(link)).resolve().exists(), link


def test_no_control_denies_what_an_event_serves() -> None:
    """SEC-6: what the release records it has: a page that puts it off to a later one is as wrong as one that boasts."""
    from actors.vocabulary.audit_events import RESERVED

    served = {
        clause for name, event in EVENT_TYPES.items() if name not in RESERVED for clause in event.clauses
    }
    for control in CONTROLS:
        assert not re.search(r"\bwith users\b|\breserved\b|\bin this version\b", control.how), control.clause
        if control.clause in served:
            assert control.code, f"{control.clause}: an event serves it, and the page names no code"
