"""Keys of programs in the dashboard: made, shown once, used, revoked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from actors.vocabulary.access import UserRole
from actors.vocabulary.users import AccountKind
from tests.browser.conftest import Opener
from tests.browser.test_access import violations
from tests.browser.watching import Watched
from tests.unit.api.people import person

pytestmark = [pytest.mark.services, pytest.mark.wire, pytest.mark.system("dashboard")]

SOON_MS = 8_000


def test_a_key_is_made_used_and_revoked(opened: Opener, watched: Watched) -> None:
    """SEC-1, HMI-2: for a service account, narrowed, shown this once; revoked it is worth nothing."""
    now = watched.api.desk.clock.now().utc
    watched.users.by_id["scada"] = person("scada", UserRole.OPERATOR, now, kind=AccountKind.SERVICE)
    page = opened("/users")
    page.get_by_role("button", name="New key: scada").click()
    dialog = page.locator("#key-dialog")
    dialog.get_by_label("What it is for").fill("control room")
    dialog.get_by_label(re.compile("how many days")).fill("365")
    dialog.get_by_label(re.compile("What it may")).select_option(["READ_POINTS", "READ_PLANT"])
    dialog.get_by_role("button", name="New key").click()
    shown = dialog.locator(".shown-once code")
    expect(shown).to_have_text(re.compile(r"^calejo_[0-9a-f]{16}_[0-9a-f]{64}$"), timeout=SOON_MS)
    key = shown.inner_text()
    (made,) = watched.users.keys_by_id.values()
    assert {each.value for each in made.operations} == {"READ_POINTS", "READ_PLANT"}
    assert made.expires_at is not None
    dialog.get_by_role("button", name="Close").click()
    row = page.get_by_role("row", name=re.compile(made.key_id))
    expect(row).to_contain_text("control room", timeout=SOON_MS)
    expect(row).to_contain_text("READ_PLANT")
    assert key not in page.content(), "shown once"
    assert watched.api.get("/api/v1/pumps", token=key).status == 200
    page.get_by_role("button", name="Revoke: scada control room").click()
    page.locator("#revoke-dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0, timeout=SOON_MS)
    assert watched.api.get("/api/v1/pumps", token=key).status == 401


def test_axe_finds_nothing_on_keys_and_their_dialogs(
    opened: Opener, watched: Watched, axe_core: Path
) -> None:
    """HMI-3: with a key listed, and with each dialog open."""
    now = watched.api.desk.clock.now().utc
    watched.users.by_id["scada"] = person("scada", UserRole.OPERATOR, now, kind=AccountKind.SERVICE)
    assert watched.api.post("/api/v1/users/scada/keys", {"label": "control room"}).status == 201
    page = opened("/users")
    assert violations(page, axe_core) == []
    for button, dialog in (("New key: scada", "#key-dialog"), ("Revoke: scada", "#revoke-dialog")):
        page.get_by_role("button", name=button).click()
        assert violations(page, axe_core) == []
        page.locator(dialog).press("Escape")
