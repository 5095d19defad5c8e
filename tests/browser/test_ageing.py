"""Goal: nothing on a page looks alive that is not: connection, session, slow parts and drawings say since when."""

from __future__ import annotations

import re
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Locator, Route, expect

from actors.vocabulary.access import UserRole
from tests.browser.conftest import Opener
from tests.browser.plant import Plant, node
from tests.browser.watching import COMES_BACK_WITHIN_S, SOON_MS, Watched

pytestmark = [pytest.mark.services, pytest.mark.wire, pytest.mark.system("dashboard")]


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
