"""Goal: what an operator does at three in the morning works, in a real browser over a scripted plant."""

from __future__ import annotations

import re
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from actors.vocabulary import Severity, Topology
from actors.vocabulary.access import UserRole
from actors.vocabulary.users import AccountKind
from tests.browser.conftest import Opener
from tests.browser.plant import NORTH, Plant, endpoint, node
from tests.browser.watching import Watched
from tests.unit.api.people import person

pytestmark = [pytest.mark.services, pytest.mark.wire, pytest.mark.system("dashboard")]

PASSWORD = "a walk along the weir at dawn"
# What must be so without a touch: a second until the next look, another on a busy machine.
SOON_MS = 8_000
COMES_BACK_WITHIN_S = 5.0


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


def test_stop_in_two_gestures_see_who_confirmed_and_clear(
    opened: Opener, plant: Plant, watched: Watched
) -> None:
    """EST-1, HMI-2: two clicks stop; each endpoint and pump is told; clearing asks for a reason."""
    page = opened("/pumps/p1", user="olga", role=UserRole.OPERATOR)
    page.get_by_role("button", name="Emergency stop").click()
    page.wait_for_timeout(300)  # a double click is one gesture: the second counts after a quarter of a second
    page.get_by_role("button", name="Stop pump Harbour 1 now").click()
    expect(page.locator("#stop-state")).to_contain_text("every endpoint has it on the wire", timeout=SOON_MS)
    shown = page.locator("#stop-shown")
    for protocol in ("modbus", "opcua"):
        expect(shown.get_by_role("row", name=endpoint("north", protocol))).to_contain_text("✓ yes")
    stop = next(iter(watched.latches.held.active()))
    assert (stop.scope.value, stop.scope_id, stop.set_by) == ("PUMP", "p1", "olga")
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".stops-hold")).to_contain_text("Emergency stop holds (1)")
    page.get_by_role("link", name="Look and clear").click()
    page.get_by_role("button", name="Clear").click()
    page.locator("#clear-reason").fill("the rag is out")
    page.locator("#clear-dialog").get_by_role("button", name="Clear").click()
    expect(page.locator(".stops-hold")).to_have_count(0, timeout=SOON_MS)
    cleared = watched.latches.held.by_id[stop.record_id]
    assert (cleared.cleared_by, cleared.clear_reason) == ("olga", "the rag is out")
    assert not plant.stops[endpoint("north", "modbus")].active()


def test_a_double_click_does_not_stop(opened: Opener, watched: Watched) -> None:
    """HMI-2: two gestures, not one of a nervous hand."""
    page = opened("/pumps/p1")
    page.evaluate("""() => {
        document.getElementById("stop-button").click();
        document.querySelector(".stop-now").click();
    }""")
    expect(page.locator("#stop-dialog")).to_be_visible()
    expect(page.locator("#stop-choice")).to_be_visible()
    assert watched.latches.held.active() == ()


def test_a_dead_endpoint_has_not_confirmed(opened: Opener, plant: Plant) -> None:
    """EST-1: what did not answer is told as loudly as what did."""
    plant.dead.add(endpoint("north", "opcua"))
    page = opened("/stations/harbour")
    page.get_by_role("button", name="Emergency stop").click()
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Stop station Harbour now").click()
    expect(page.locator("#stop-state")).to_contain_text("NOT every endpoint", timeout=SOON_MS)
    expect(page.locator("#stop-shown").get_by_role("row", name=endpoint("north", "opcua"))).to_contain_text(
        "✗ no"
    )


def test_a_stop_while_the_api_is_dead_is_sent_until_somebody_confirms(
    opened: Opener, watched: Watched
) -> None:
    """EST-1, EST-4: it says that nobody has confirmed, and is one stop when the API is back."""
    page = opened("/pumps/p1")
    watched.down()
    page.get_by_role("button", name="Emergency stop").click()
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Stop pump Harbour 1 now").click()
    expect(page.locator("#stop-state")).to_contain_text("NOT CONFIRMED", timeout=SOON_MS)
    expect(page.locator("#stop-shown")).to_contain_text("Tries: 2", timeout=SOON_MS)
    watched.up()
    expect(page.locator("#stop-state")).to_contain_text("every endpoint has it", timeout=SOON_MS)
    assert len(watched.latches.held.active()) == 1


def press(page: Page, name: str) -> None:
    """Stop something in two gestures."""
    page.get_by_role("button", name="Emergency stop").click()
    page.wait_for_timeout(300)  # a double click is one gesture: the second counts after a quarter of a second
    page.get_by_role("button", name=name).click()


def test_no_dialog_ends_a_stops_retry(opened: Opener, watched: Watched) -> None:
    """EST-1, EST-4: closed, opened, another stop pressed, closed again: both are sent until somebody confirms."""
    page = opened("/pumps/p1")
    watched.down()
    press(page, "Stop pump Harbour 1 now")
    expect(page.locator("#stop-state")).to_contain_text("NOT CONFIRMED", timeout=SOON_MS)
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#pending")).to_contain_text("Pump Harbour 1: NOT CONFIRMED")
    press(page, "Stop station Mill lane now")
    expect(page.locator("#stop-state")).to_contain_text("Station Mill lane: NOT CONFIRMED", timeout=SOON_MS)
    expect(page.locator("#stop-state")).not_to_contain_text("Harbour")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#pending [data-stop]")).to_have_count(2)
    tries = page.locator("#pending [data-stop]").first.locator(".since")
    expect(tries).to_contain_text("Tries: 4", timeout=SOON_MS)
    assert watched.latches.held.active() == ()
    watched.up()
    expect(page.locator("#pending")).to_be_hidden(timeout=SOON_MS)
    held = {(stop.scope.value, stop.scope_id) for stop in watched.latches.held.active()}
    assert held == {("PUMP", "p1"), ("STATION", "mill")}
    assert len(watched.latches.held.records) == 2, "each under one id, however often it was sent"


def test_leaving_the_page_with_a_stop_unconfirmed_is_asked_about(opened: Opener, watched: Watched) -> None:
    """EST-1: the retry is the page's: whoever leaves it is asked first, and not once it is confirmed."""
    page = opened("/pumps/p1")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    watched.down()
    press(page, "Stop pump Harbour 1 now")
    expect(page.locator("#stop-state")).to_contain_text("NOT CONFIRMED", timeout=SOON_MS)
    page.get_by_role("button", name="Close").click()
    page.evaluate("setTimeout(() => location.assign('/alarms'), 0)")
    expect(page.locator("#pending")).to_contain_text("Tries: 3", timeout=SOON_MS)
    assert asked == ["beforeunload"]
    assert page.url.endswith("/pumps/p1")
    watched.up()
    expect(page.locator("#pending")).to_be_hidden(timeout=SOON_MS)
    page.get_by_role("link", name="Alarms", exact=True).click()
    expect(page).to_have_url(re.compile("/alarms$"))
    assert asked == ["beforeunload"]


@pytest.mark.parametrize("body", ["", "{", "null", "{}"])
def test_an_answer_that_breaks_on_its_way_confirms_nothing(
    opened: Opener, watched: Watched, body: str
) -> None:
    """EST-1: 201 with half a body: nobody knows, so the same stop is sent again."""
    page = opened("/pumps/p1")
    broken = 0

    def through(route: Route) -> None:
        nonlocal broken
        broken += 1
        if broken == 1:
            route.fulfill(status=201, body=body, content_type="application/json")
        else:
            route.continue_()

    page.route("**/api/v1/emergency-stops", through)
    press(page, "Stop pump Harbour 1 now")
    expect(page.locator("#stop-state")).to_contain_text("every endpoint has it", timeout=SOON_MS)
    assert broken == 2
    assert len(watched.latches.held.active()) == 1


def test_a_refused_stop_stays_in_the_bar_until_it_was_seen(opened: Opener) -> None:
    """EST-1: a refusal is not sent again, and does not vanish with the dialog."""
    page = opened("/pumps/p1")
    refusal = '{"detail": "this machine is to be taken away"}'
    page.route(
        "**/api/v1/emergency-stops",
        lambda route: route.fulfill(status=409, body=refusal, content_type="application/problem+json"),
    )
    press(page, "Stop pump Harbour 1 now")
    expect(page.locator("#stop-state")).to_contain_text("REFUSED: this machine", timeout=SOON_MS)
    page.get_by_role("button", name="Close").click()
    bar = page.locator("#pending")
    expect(bar).to_contain_text("Pump Harbour 1: stop REFUSED: this machine")
    bar.get_by_role("button", name="Seen").click()
    expect(bar).to_be_hidden()


def test_what_came_since_the_page_was_made_can_be_stopped(opened: Opener, plant: Plant) -> None:
    """EST-1, DAT-4: the choice is renewed when it opens; what stood there stays where it was."""
    page = opened("/")
    first = NORTH.stations[0]
    late = msgspec.structs.replace(first.pumps[0], pump_id="p8", name="Harbour 3", wire_slot=2)
    grown = msgspec.structs.replace(first, pumps=(*first.pumps, late))
    site = msgspec.structs.replace(NORTH, stations=(grown, *NORTH.stations[1:]))
    plant.speeds["p8"] = 35.0
    plant.sites = (site, *plant.sites[1:])
    plant.topology = Topology(revision="r2", sites=plant.sites)
    expect(page.get_by_role("link", name="Harbour 3")).to_be_visible(timeout=SOON_MS)
    page.get_by_role("button", name="Emergency stop").click()
    choice = page.locator(".stop-now")
    expect(choice.last).to_contain_text("Stop pump Harbour 3 now", timeout=SOON_MS)
    expect(choice.first).to_contain_text("Stop station Harbour now")


def test_who_may_only_read_is_offered_no_stop(opened: Opener) -> None:
    """SEC-2: no button that would be refused; who may is said."""
    page = opened("/", user="rita", role=UserRole.READ_ONLY)
    expect(page.get_by_role("button", name="Emergency stop")).to_have_count(0)
    expect(page.get_by_text("needs OPERATOR or above")).to_be_visible()


def test_a_lost_connection_is_unmistakable_and_returns_by_itself(opened: Opener, watched: Watched) -> None:
    """HMI-2: five browsers watch while the API dies: each says so, each is live again within 5 s of its return."""
    pages = [opened(path) for path in ("/", "/stations/harbour", "/pumps/p1", "/alarms", "/tree")]
    watched.down()
    for page in pages:
        expect(page.locator("#link")).to_be_visible(timeout=SOON_MS)
        expect(page.locator("#link")).to_contain_text("NO CONNECTION")
        assert page.title().startswith("⚠")
    watched.up()
    began = time.monotonic()
    for page in pages:
        expect(page.locator("#link")).to_be_hidden(timeout=COMES_BACK_WITHIN_S * 1000)
    assert time.monotonic() - began < COMES_BACK_WITHIN_S
    assert not any(page.title().startswith("⚠") for page in pages)


UTC_ON_HOVER = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$")


def in_the_plants_zone(shown: Locator) -> None:
    """A browser in Lima tells Berlin's time, by name, and UTC on hover."""
    expect(shown).to_have_text(re.compile(r"^\d\d:\d\d:\d\d (CET|CEST)$"))
    expect(shown).to_have_attribute("title", UTC_ON_HOVER)
    told = shown.get_attribute("datetime") or ""
    at = datetime.fromisoformat(told).astimezone(ZoneInfo("Europe/Berlin"))
    expect(shown).to_have_text(f"{at:%H:%M:%S %Z}")


def test_scripts_tell_times_as_the_pages_do(opened: Opener, plant: Plant, watched: Watched) -> None:
    """HMI-2: the site's zone whatever the browser's, UTC on hover: a lost connection, and what was seen happening."""
    page = opened("/tree")
    assert page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone") == "America/Lima"
    address = "/sites/north/stations/mill/safety"
    plant.nodes[address] = node(address, plant.nodes[address].role, pid=None, state="restarting")
    expect(page.locator("#seen")).to_contain_text(address, timeout=SOON_MS)
    in_the_plants_zone(page.locator("#seen time").first)
    newest = page.locator("#strip").get_attribute("data-at") or ""
    watched.down()
    expect(page.locator("#link")).to_be_visible(timeout=SOON_MS)
    in_the_plants_zone(page.locator("#link time"))
    assert (page.locator("#link time").get_attribute("datetime") or "") >= newest[:19]


@pytest.mark.parametrize(
    ("status", "why"), [(503, "Refused (503)"), (403, "Refused (403)"), (0, "No answer")]
)
def test_a_slow_part_that_is_not_renewed_is_said_to_be_old(opened: Opener, status: int, why: str) -> None:
    """HMI-2: what comes from a database ages by itself: the strip is live, the part below says since when it is not."""
    page = opened("/limits")

    def refuse(route: Route) -> None:
        if route.request.headers.get("hx-target") != "slow":
            route.continue_()
        elif status:
            route.fulfill(status=status, body="{}")
        else:
            route.abort()

    page.route("**/limits", refuse)
    old = page.locator("#slow-old")
    expect(old).to_contain_text("NOT RENEWED since", timeout=30_000)
    expect(old).to_contain_text(why)
    in_the_plants_zone(old.locator("time"))
    expect(page.locator("#slow")).to_have_attribute("data-old", "")
    expect(page.locator("#link")).to_be_hidden()
    page.unroute("**/limits")
    expect(old).to_be_hidden(timeout=30_000)
    assert page.locator("#slow").get_attribute("data-old") is None


def test_one_answer_that_is_missing_makes_no_part_old(opened: Opener) -> None:
    """HMI-2: a database that was away for one look is no alarm: the next look has it again."""
    page = opened("/limits")
    refused: list[str] = []

    def refuse_once(route: Route) -> None:
        if route.request.headers.get("hx-target") == "slow" and not refused:
            refused.append(route.request.url)
            route.fulfill(status=503, body="{}")
        else:
            route.continue_()

    page.route("**/limits", refuse_once)
    with page.expect_response(lambda answer: answer.status == 503, timeout=30_000):
        pass
    with page.expect_response(
        lambda answer: answer.ok and answer.request.headers.get("hx-target") == "slow", timeout=30_000
    ):
        expect(page.locator("#slow-old")).to_be_hidden()
    expect(page.locator("#slow-old")).to_be_hidden()


def test_a_drawing_that_is_not_renewed_is_said_to_be_old(opened: Opener) -> None:
    """HMI-2: the day that was drawn stays and says since when; it is renewed when the database answers."""
    page = opened("/")
    page.clock.install()
    page.goto("/stations/harbour")
    expect(page.locator("#trend canvas")).to_have_count(3, timeout=SOON_MS)
    away = '{"detail": "the database is away"}'
    page.route("**/trends/*", lambda route: route.fulfill(status=503, body=away))
    page.clock.fast_forward(61_000)
    why = page.locator("#trend-why")
    expect(why).to_contain_text("this drawing is OLD. the database is away", timeout=SOON_MS)
    in_the_plants_zone(why.locator("time"))
    expect(page.locator("#trend")).to_have_attribute("data-old", "")
    expect(page.locator("#trend canvas")).to_have_count(3)
    page.unroute("**/trends/*")
    page.clock.fast_forward(61_000)
    expect(why).to_be_empty(timeout=SOON_MS)
    assert page.locator("#trend").get_attribute("data-old") is None


def test_a_session_that_ends_is_said_and_still_offers_the_stop(opened: Opener, watched: Watched) -> None:
    """SEC-1, HMI-2: the view does not go on looking alive; the stop's button stays."""
    page = opened("/", user="olga", role=UserRole.OPERATOR)
    watched.api.post("/api/v1/users/olga/sessions/end", {})
    expect(page.locator("#link")).to_contain_text("LOGGED OUT", timeout=SOON_MS)
    expect(page.get_by_role("link", name="Log in again")).to_be_visible()
    expect(page.get_by_role("button", name="Emergency stop")).to_be_visible()


def test_whoever_logs_in_again_in_another_window_goes_on_in_the_first(
    opened: Opener, watched: Watched
) -> None:
    """SEC-1, HMI-2: the old page's proof is of an old cookie: it takes the new one, and its stop is no refusal."""
    page = opened("/pumps/p1", user="olga", role=UserRole.OPERATOR)
    watched.api.post("/api/v1/users/olga/sessions/end", {})
    expect(page.locator("#link")).to_contain_text("LOGGED OUT", timeout=SOON_MS)
    page.context.add_cookies([watched.cookie("olga", UserRole.OPERATOR)])
    page.get_by_role("button", name="Emergency stop").click()
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Stop pump Harbour 1 now").click()
    expect(page.locator("#stop-state")).to_contain_text("every endpoint has it", timeout=SOON_MS)
    page.get_by_role("button", name="Close").click()
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#link")).to_be_hidden(timeout=SOON_MS)


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
