"""A browser, a scripted plant behind a real API, and pages on which nothing may go wrong unseen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from actors.vocabulary.access import UserRole
from tests.browser.plant import Plant, Trends
from tests.browser.watching import Watched

Opener = Callable[..., Page]


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """Chromium of the system. For one module: while Playwright runs, asyncio.run cannot, which other tests need."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(chromium), args=arguments)
        try:
            yield running
        finally:
            running.close()


@pytest.fixture
def plant() -> Plant:
    return Plant()


@pytest.fixture
def watched(plant: Plant, tmp_path: Path) -> Iterator[Watched]:
    """The API over the scripted plant; it can go down and come back on its port."""
    with Watched(plant, tmp_path, trends=Trends()) as running:
        yield running


@pytest.fixture
def opened(browser: Browser, watched: Watched) -> Iterator[Opener]:
    """Open a page as a user: `opened("/tree", role=UserRole.OPERATOR)`. At its end no script may have failed."""
    with ExitStack() as contexts:
        faults: list[str] = []

        def open_page(
            path: str = "/",
            *,
            user: str = "anna",
            role: UserRole = UserRole.ADMINISTRATOR,
            context: BrowserContext | None = None,
            **options: Any,
        ) -> Page:
            if context is None:
                options = {
                    "viewport": {"width": 1366, "height": 768}, "locale": "en-GB", "timezone_id": "America/Lima",
                } | options  # fmt: skip
                context = browser.new_context(base_url=watched.url, **options)
                contexts.callback(context.close)
                context.add_cookies([watched.cookie(user, role)])
            page = context.new_page()
            page.on("pageerror", lambda error: faults.append(f"{path}: {error}"))
            page.on(
                "console",
                lambda said: (
                    faults.append(f"{path}: {said.text}")
                    if said.type == "error" and "Content Security Policy" in said.text
                    else None
                ),
            )
            page.goto(path)
            page.locator("html[data-ready=yes]").wait_for(state="attached")
            return page

        yield open_page
    assert faults == []
