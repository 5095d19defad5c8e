"""Goal: what an operator does at three in the morning works, in a real browser over a scripted plant."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Page, expect

from actors.vocabulary import Severity
from actors.vocabulary.access import UserRole
from actors.vocabulary.users import AccountKind
from tests.browser.conftest import Opener
from tests.browser.plant import Plant, node
from tests.browser.watching import COMES_BACK_WITHIN_S, SOON_MS, Watched
from tests.unit.api.people import person

pytestmark = [pytest.mark.services, pytest.mark.wire, pytest.mark.system("dashboard")]

PASSWORD = "a walk along the weir at dawn"


def with_password(watched: Watched, user: str, *, must_change: bool = False) -> None:
    api = watched.api
    now = api.desk.clock.now().utc
    hashed = api.on_loop(api.desk.hashing.hashed(PASSWORD))
    watched.users.by_id[user] = person(
        user, UserRole.OPERATOR, now, kind=AccountKind.PERSON, password_hash=hashed, password_at=now,
        must_change=must_change,
    )  # fmt: skip


def test_log_in_look_and_log_out(opened: Opener, watched: Watched) -> None:
    """SEC-1, HMI-2: from nobody to the page that was wanted; out again, and nothing is left in the browser."""
    with_password(watched, "olga")
    page = opened("/login")
    page.context.clear_cookies()
    page.goto("/pumps/p1")
    expect(page).to_have_url(re.compile("/login"))
    page.get_by_label("User").fill("olga")
    page.get_by_label("Password").fill("not this one, I think")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("wrong name, password or code")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/pumps/p1$"))
    assert page.evaluate("document.cookie") == "", "no script reads it"
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/login$"))
    page.goto("/")
    expect(page).to_have_url(re.compile("/login"))


def test_the_first_password_is_changed_first(opened: Opener, watched: Watched) -> None:
    """SEC-1: whoever was given a password sees the plant once they have chosen their own."""
    with_password(watched, "nina", must_change=True)
    page = opened("/login")
    page.context.clear_cookies()
    page.goto("/login")
    page.get_by_label("User").fill("nina")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/account$"))
    expect(page.get_by_text("choose your own first")).to_be_visible()
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_label("New password").fill("herons stand in the shallow water")
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible(timeout=SOON_MS)


def test_a_setpoint_changes_before_ones_eyes(opened: Opener, plant: Plant) -> None:
    """HMI-2: live without a touch; what has the focus keeps it, what was opened stays open."""
    page = opened("/pumps/p1")
    expect(page.locator("#setpoint")).to_have_text("35.00 Hz")
    page.get_by_text("Every safety rule, highest first").click()
    link = page.get_by_role("link", name="Harbour", exact=True)
    link.focus()
    plant.speeds["p1"] = 41.5
    expect(page.locator("#setpoint")).to_have_text("41.50 Hz", timeout=SOON_MS)
    expect(link).to_be_focused()
    assert page.locator("#all-rules").evaluate("each => each.open")


def test_the_tree_shows_a_death_and_a_return(opened: Opener, plant: Plant) -> None:
    """SUP-7, HMI-2: state and restarts live; what was seen happening is kept with how long it took."""
    page = opened("/tree")
    address = "/sites/north/stations/mill/safety"
    held = plant.nodes[address]
    plant.nodes[address] = node(address, held.role, pid=None, state="restarting")
    row = page.get_by_role("row", name=address)
    expect(row).to_contain_text("restarting", timeout=SOON_MS)
    expect(row.locator(".away")).to_contain_text("since ")
    plant.nodes[address] = node(address, held.role, pid=4711, restarts=1, away_s=2.34)
    expect(row).to_contain_text("4711", timeout=SOON_MS)
    expect(page.locator("#seen")).to_contain_text(f"{address}: runs again after 2.34 s (restarts: 1)")
    expect(row.locator(".away")).to_contain_text("2.34\u00a0s · ")
    # Between two looks: the supervisor has seen it, so it is told with its figure all the same.
    plant.nodes[address] = node(address, held.role, pid=4712, restarts=2, away_s=0.11)
    expect(page.locator("#seen li").first).to_contain_text("after 0.11 s (restarts: 2)", timeout=SOON_MS)


def test_an_alarm_is_acknowledged_and_goes_on_standing(opened: Opener, plant: Plant) -> None:
    """ALM-1, HMI-2: who, when and their comment stand in the list; the strip counts it until it has returned."""
    plant.alarm("not_following", "p2", Severity.HIGH, "p2 is slow")
    page = opened("/alarms", user="olga", role=UserRole.OPERATOR)
    expect(page.locator(".counts")).to_contain_text("1 unseen")
    page.get_by_role("button", name="Acknowledge: Does not follow its setpoint, p2").click()
    dialog = page.locator("#acknowledge-dialog")
    dialog.get_by_label("Comment").fill("sent the van")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(dialog).to_be_hidden(timeout=SOON_MS)
    row = page.get_by_role("row", name="p2 is slow")
    expect(row).to_contain_text("stands, seen", timeout=SOON_MS)
    expect(row).to_contain_text("olga")
    expect(row).to_contain_text("sent the van")
    expect(row.get_by_role("button")).to_have_count(0)
    expect(page.locator(".counts")).not_to_contain_text("unseen")
    expect(page.locator(".count.some .n")).to_have_text("1")
    plant.alarm_over("not_following", "p2")
    expect(page.locator(".count.some")).to_have_count(0, timeout=SOON_MS)


def test_a_quarantined_part_is_retried(opened: Opener, plant: Plant) -> None:
    """SUP-5: an operator retries it from the view."""
    address = "/sites/north/stations/mill/plan"
    plant.nodes[address] = node(address, plant.nodes[address].role, pid=None, state="quarantined", restarts=9)
    page = opened("/tree", user="olga", role=UserRole.OPERATOR)
    page.get_by_role("button", name="Retry").click()
    page.locator("#retry-dialog").get_by_role("button", name="Retry").click()
    expect(page.locator("#said")).to_contain_text("being started", timeout=SOON_MS)
    assert any(type(message).__name__ == "RetryChild" for _, message in plant.asked)


def _proposed(page: Page) -> None:
    page.get_by_label("maximum speed (Hz)").fill("48")
    page.get_by_label("Reason", exact=True).first.fill("the coupling hums above 48 Hz")
    page.get_by_role("button", name="Propose").click()


def test_limits_are_proposed_by_one_and_approved_by_another(opened: Opener, watched: Watched) -> None:
    """SAF-6: its author cannot approve; a second person sees the difference, approves, and it is in force."""
    first = opened("/limits/p1", user="emil", role=UserRole.ENGINEER)
    _proposed(first)
    expect(first.get_by_text("Your own proposal")).to_be_visible(timeout=SOON_MS)
    expect(first.get_by_role("button", name="Approve")).to_have_count(0)
    second = opened("/limits/p1", user="edda", role=UserRole.ENGINEER)
    row = second.get_by_role("row", name="maximum speed").first
    expect(row).to_contain_text("50.00")
    expect(row).to_contain_text("48.00")
    expect(row).to_contain_text("more")
    second.get_by_role("button", name="Approve").click()
    second.locator("#close-reason").fill("agreed after a look at the coupling")
    second.get_by_role("button", name="Confirm").click()
    expect(second.get_by_role("heading", name="In force (version 4)")).to_be_visible(timeout=SOON_MS)
    expect(first.get_by_role("heading", name="In force (version 4)")).to_be_visible(timeout=SOON_MS)
    current = watched.limits.book_now.current
    assert current is not None
    assert (current.hard_max_speed_hz, current.set_by, current.approved_by) == (48.0, "emil", "edda")


def test_a_mode_is_commanded_through_the_same_rules(opened: Opener, plant: Plant) -> None:
    """CTL-7: manual with its speed; what is refused says why and is not sent away."""
    page = opened("/pumps/p1", user="olga", role=UserRole.OPERATOR)
    page.get_by_role("button", name="Change the mode").click()
    dialog = page.locator("#mode-dialog")
    dialog.get_by_label("Mode").select_option("MANUAL")
    dialog.get_by_label("Speed in manual").fill("31.5")
    dialog.get_by_role("button", name="Command it").click()
    expect(dialog).to_be_hidden(timeout=SOON_MS)
    command = plant.modes["p1"]
    assert (command.mode.name, command.setpoint_hz, command.by) == ("MANUAL", 31.5, "olga")
    page.get_by_role("button", name="Change the mode").click()
    dialog.get_by_label("Speed in manual").fill("31.5")
    dialog.get_by_role("button", name="Command it").click()
    expect(dialog.locator(".wrong-text")).to_contain_text("it goes with MANUAL only", timeout=SOON_MS)


def test_a_refused_proposal_says_why(opened: Opener) -> None:
    """SAF-6: outside the commissioning envelope: the form keeps what was typed and tells the reason."""
    page = opened("/limits/p1", user="emil", role=UserRole.ENGINEER)
    page.get_by_label("maximum speed (Hz)").fill("60")
    page.get_by_label("Reason", exact=True).first.fill("more")
    page.get_by_role("button", name="Propose").click()
    expect(page.locator("#propose .wrong-text")).to_contain_text("hard_max_speed_hz", timeout=SOON_MS)
    expect(page.get_by_label("maximum speed (Hz)")).to_have_value("60")


def test_a_user_is_added_with_a_password_shown_once(opened: Opener, watched: Watched) -> None:
    """SEC-1: an administrator adds a user, sees the password, and disables them again."""
    page = opened("/users")
    page.locator("#add-user").fill("otto")
    page.locator("#add-role").select_option("OPERATOR")
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".shown-once code").first).to_have_text(re.compile(r"\S{12,}"), timeout=SOON_MS)
    expect(page.get_by_role("row", name="otto")).to_be_visible(timeout=SOON_MS)
    page.get_by_role("button", name="Disable: otto").click()
    page.locator("#do-dialog").get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("row", name="otto")).to_contain_text("disabled", timeout=SOON_MS)
    assert not watched.users.by_id["otto"].enabled


def test_a_day_is_drawn(opened: Opener) -> None:
    """HMI-2: a drawing of the level and of each pump, in the site's zone, redrawn in the other theme."""
    page = opened("/stations/harbour")
    expect(page.locator("#trend canvas")).to_have_count(3, timeout=SOON_MS)
    page.get_by_role("button", name="Light / dark").click()
    expect(page.locator("#trend canvas")).to_have_count(3)
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_many_windows_share_one_stream(opened: Opener) -> None:
    """HMI-2: the seventh window of a browser works as the first does: six connections are all that it has."""
    first = opened("/")
    others = [opened("/pumps/p1", context=first.context) for _ in range(7)]
    for page in others:
        expect(page.locator("#link")).to_be_hidden()
        expect(page.locator("#setpoint")).to_have_text("35.00 Hz")
    last = others[-1]
    began = time.monotonic()
    last.goto("/alarms")
    expect(last.get_by_role("heading", name="Alarms and events")).to_be_visible()
    assert time.monotonic() - began < COMES_BACK_WITHIN_S


def test_an_actor_that_hangs_makes_no_view_wait_long(opened: Opener, plant: Plant) -> None:
    """HMI-2: a deaf safety actor is said to be silent; the page goes on within its deadline."""
    plant.deaf.add("/sites/north/stations/mill/safety")
    page = opened("/")
    expect(page.locator("#live")).to_contain_text("Does not answer")
    expect(page.locator("#link")).to_be_hidden()
    plant.speeds["p1"] = 22.0
    expect(page.locator("#live")).to_contain_text("22.0 Hz", timeout=SOON_MS)
