"""Goal: somebody looks at every view, as it is: pictures of all of them, calm, with everything wrong, and cut off.

Method: CALEJO_PICTURES names the folder that they go to; `pytest -m prove tests/browser/test_pictures.py` takes them.
A machine judges little of a picture (there is one, of the right size, not of one colour); a person looks.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener
from tests.browser.plant import Plant
from tests.browser.test_access import VIEWS, everything_wrong
from tests.browser.watching import SOON_MS, Watched

pytestmark = [
    pytest.mark.services,
    pytest.mark.wire,
    pytest.mark.prove,
    pytest.mark.system("dashboard"),
    pytest.mark.timeout(600),
]
BYTES_MIN = 15_000


def take(page: Page, name: str, otherwise: Path) -> None:
    """Take a picture of what a screen of 1366 by 768 shows of a view, and of all of it."""
    folder = Path(os.environ.get("CALEJO_PICTURES", "") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    page.screenshot(path=path, full_page=True, animations="disabled")
    assert path.stat().st_size > BYTES_MIN, f"{path}: nothing is on it"


def named(path: str) -> str:
    return path.strip("/").replace("/", "-") or "overview"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_calm_wrong_and_cut_off(
    opened: Opener, plant: Plant, watched: Watched, tmp_path: Path, theme: str
) -> None:
    """HMI-1: pictures of every view in three states, in both themes."""
    page = opened("/", color_scheme=theme)
    for state in ("calm", "wrong"):
        if state == "wrong":
            page.goto("/")
            everything_wrong(plant, watched)
            expect(page.locator(".stops-hold")).to_be_visible(timeout=SOON_MS)
        for path in VIEWS:
            page.goto(path)
            page.locator("html[data-ready=yes]").wait_for(state="attached")
            if path.startswith(("/stations", "/pumps")):
                expect(page.locator("#trend canvas").first).to_be_visible(timeout=SOON_MS)
            take(page, f"{theme}-{state}-{named(path)}", tmp_path)
    page.get_by_role("button", name="Emergency stop").click()
    take(page, f"{theme}-wrong-stop-choice", tmp_path)
    page.get_by_role("button", name="Close").click()
    pages = [opened(path, color_scheme=theme) for path in VIEWS if path != "/account"]
    watched.down()
    for path, each in zip((path for path in VIEWS if path != "/account"), pages, strict=True):
        expect(each.locator("#link")).to_be_visible(timeout=SOON_MS)
        take(each, f"{theme}-cut-{named(path)}", tmp_path)
    first = pages[0]
    first.get_by_role("button", name="Emergency stop").click()
    first.wait_for_timeout(300)
    first.locator(".stop-now").first.click()
    expect(first.locator("#stop-state")).to_contain_text("NOT CONFIRMED", timeout=SOON_MS)
    take(first, f"{theme}-cut-stop-unconfirmed", tmp_path)
    first.get_by_role("button", name="Close").click()
    take(first, f"{theme}-cut-stop-in-the-bar", tmp_path)
    watched.up()
    expect(first.locator("#pending")).to_be_hidden(timeout=SOON_MS)
