"""REST under schemathesis, a stranger with a document: whatever it asks, as whomever, is answered as the document says.

Every check of its, seeded; a short run with the other tests, a long one under `make prove`. In a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.vocabulary.access import UserRole
from ops.audit_trail import folder_of
from storage.audit_desk import AuditDesk
from storage.audit_reader import AuditBook
from storage.decisions import Decisions
from storage.engine import Access, Database, real_chance
from storage.past import PastOfPoints
from storage.urls import sqlite_url
from tests.unit.api.examples import PAST
from tests.unit.api.people import logged_in
from tests.unit.api.served import Served, served
from tests.unit.api.test_decisions import store
from tests.unit.ops.audit.trail import Trail

pytestmark = [pytest.mark.wire, pytest.mark.system("api.rest")]

CONFIGURATION = Path(__file__).parent / "schemathesis.toml"
SEED = 20261121
WITHIN_S = 900
LONG_S = "600"
# The stream never ends (tests/unit/api/stream asks it); the others would end the session that asks.
APART = "/api/v1/stream|/auth/logout|/account/password|/sessions|/users/.user_id./(role|disable|reset)"
WHO = [None, *UserRole]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    trail = Trail(tmp_path / "trail")
    trail.write(8)
    assert trail.sign() == ""
    decisions = Decisions(store(tmp_path / "decided"))
    with served(tmp_path / "api", decisions=decisions) as running:
        url = sqlite_url(trail.database)
        database = Database(url, Access.READ, settings=trail.settings.database, chance=real_chance())
        running.actor._service.points = PastOfPoints(database)
        running.actor._service.audit = AuditDesk(folder_of(trail.settings), AuditBook(database))
        for table, row in PAST.items():
            running.past.rows[table] = [row]
        running.token()
        yield running
        running.on_loop(database.close())
        running.on_loop(decisions._database.close())


def asked(api: Served, folder: Path, role: UserRole | None, *options: str) -> str:
    """Run schemathesis as somebody of a role, None: as nobody; whatever it finds is shown. Returns what it counted."""
    shown: tuple[str, ...] = ()
    if role is not None:
        token = logged_in(api.users, api.desk, f"walker-{role.value.lower()}", role, life_s=3_600.0)
        shown = ("--header", f"Authorization: Bearer {token}")
    command = (
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION), "run",
        f"http://127.0.0.1:{api.rest}/api/v1/schema/openapi.json", "--checks", "all", "--seed", str(SEED),
        "--no-color", "--suppress-health-check", "all", "--generation-database", ":memory:",
        *shown, *options,
    )  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-12_000:]
    assert re.search(r"[1-9]\d* (test cases|generated|passed|cases)|No issues found", output), output[-2_000:]
    return "\n".join(
        line for line in output.splitlines() if re.search(r"\d+ (generated|passed|tested)|seed", line)
    )


@pytest.mark.parametrize("role", WHO)
@pytest.mark.timeout(WITHIN_S)
def test_nothing_is_found_in_a_short_run(api: Served, tmp_path: Path, role: UserRole | None) -> None:
    """API-1, API-2: no 5xx, no answer that is not described, nobody let in, as each role and as nobody."""
    # Whoever may most meets most.
    count = "3" if role is UserRole.ADMINISTRATOR else "1"
    asked(api, tmp_path, role, "--phases", "examples,fuzzing", "-n", count, "--exclude-path-regex", APART)


@pytest.mark.parametrize("role", [None, UserRole.ADMINISTRATOR])
@pytest.mark.timeout(WITHIN_S)
def test_nothing_is_found_in_what_ends_sessions(api: Served, tmp_path: Path, role: UserRole | None) -> None:
    """API-1, SEC-1: logging out, ending, demoting: whatever becomes of the one who asks."""
    options = ("--include-path-regex", APART, "--exclude-path", "/api/v1/stream")
    asked(api, tmp_path, role, "--phases", "examples,fuzzing", "-n", "2", *options)


@pytest.mark.prove
@pytest.mark.parametrize("role", WHO)
@pytest.mark.timeout(WITHIN_S)
def test_nothing_is_found_in_a_long_run(api: Served, tmp_path: Path, role: UserRole | None) -> None:
    """API-1, API-2: every phase, boundaries of every value, sequences of requests; `-s` shows how many there were."""
    bounds = ("-n", "50", "--max-time", os.environ.get("CALEJO_SCHEMATHESIS_S", LONG_S))
    counted = asked(api, tmp_path, role, *bounds, "--continue-on-failure", "--exclude-path-regex", APART)
    print(f"\nas {'nobody' if role is None else role.value}:\n{counted}")
