"""Goal: the emergency stop of the dashboard reaches the wires, or says that it has not, whatever dies meanwhile."""

from __future__ import annotations

import re

import msgspec
import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from actors.vocabulary import Topology
from actors.vocabulary.access import UserRole
from tests.browser.conftest import Opener
from tests.browser.plant import NORTH, Plant, endpoint
from tests.browser.watching import SOON_MS, Watched

pytestmark = [pytest.mark.services, pytest.mark.wire, pytest.mark.system("dashboard")]


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
    expect(page.locator("#said")).to_contain_text("every endpoint has it on the wire")
    held = {(stop.scope.value, stop.scope_id) for stop in watched.latches.held.active()}
    assert held == {("PUMP", "p1"), ("STATION", "mill")}
    assert len(watched.latches.held.records) == 2, "each under one id, however often it was sent"


def test_leaving_the_page_with_a_stop_unconfirmed_is_asked_about(opened: Opener, watched: Watched) -> None:
    """EST-1: the retry is the page's: whoever leaves it is asked first, and not once it is confirmed."""
    page = opened("/pumps/p1")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
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
