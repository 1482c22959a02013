"""The pages in a real browser: Debian's Chromium, headless. Screenshots go to CALLREPLAY_SCREENSHOTS if set."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = [pytest.mark.browser, pytest.mark.database]


INK = (
    "(() => { const c = document.querySelector('canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, "
    "c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()"
)
"""Script that counts the waveform's pixels that are drawn."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-gpu"],
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, service: Running) -> Iterator[Page]:
    context = browser.new_context(
        base_url=service.base, locale="en-GB", viewport={"width": 1280, "height": 800}
    )
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None
    )
    yield opened
    context.close()
    assert wrong == []


def shoot(page: Page, name: str) -> None:
    folder = os.environ.get("CALLREPLAY_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


def until(page: Page, expression: str) -> None:
    """Wait for it. Playwright's own wait compiles text inside the page, which our policy rightly forbids."""
    end = time.monotonic() + 15
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def loaded(page: Page) -> None:
    """The player knows its audio and has drawn its peaks. (The network may stay busy: audio is loaded as needed.)"""
    until(page, "document.querySelector('audio').readyState >= 1")
    until(page, INK + " > 3000")


def enter(page: Page, service: Running, query: str = "") -> None:
    answer = page.goto(f"/CallRecorder/?user=admin&password={service.password}{query}")
    assert answer is not None
    assert answer.ok


def plays(page: Page) -> None:
    page.click("[data-do=play]")
    until(page, "document.querySelector('audio').currentTime > 0.3")


def test_log_in_by_url_search_open_and_play(page: Page, service: Running) -> None:
    enter(page, service)
    assert service.password not in page.url
    assert page.locator("tbody tr").count() == 3
    shoot(page, "list")
    page.fill("[name=callerName]", "ana")
    page.click("form.search button")
    assert page.locator("tbody tr").count() == 1
    page.click("tbody a")
    assert page.locator("[role=dialog]").is_visible()
    loaded(page)
    shoot(page, "details")
    plays(page)
    for tab in ("Media", "Events", "Advanced"):
        page.click(f".tabs >> text={tab}")
        shoot(page, f"details-{tab.lower()}")
    page.keyboard.press("Escape")
    page.wait_for_url("**/CallRecorder/?callerName=ana**")
    assert page.locator("[role=dialog]").count() == 0


def test_click_in_the_waveform_and_keys_seek(page: Page, service: Running, call: dict[str, Any]) -> None:
    enter(page, service, f"&player={call['callId']}")
    loaded(page)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
    at = page.evaluate("document.querySelector('audio').currentTime")
    assert at == pytest.approx(call["duration"] / 2, abs=1.5)
    plays(page)
    until(page, f"document.querySelector('audio').currentTime > {at} + 0.3")
    page.keyboard.press("Home")
    assert page.evaluate("document.querySelector('audio').currentTime") < 1.5
    shoot(page, "player")


def test_a_muted_leg_leaves_the_other_playing(page: Page, service: Running, call: dict[str, Any]) -> None:
    enter(page, service, f"&player={call['callId']}")
    page.uncheck("[data-do=caller]")
    plays(page)
    gains = "document.querySelector('.player')"
    assert page.locator("[data-do=called]").is_checked()
    assert page.evaluate(f"{gains}.querySelector('audio').error") is None


def test_phone(browser: Browser, service: Running, call: dict[str, Any]) -> None:
    context = browser.new_context(
        base_url=service.base,
        viewport={"width": 375, "height": 720},
        color_scheme="dark",
        has_touch=True,
        is_mobile=True,
        locale="de",
    )
    page = context.new_page()
    enter(page, service)
    for name, place in (
        ("list", ""),
        ("details", f"?callDetails={call['callId']}"),
        ("player", f"?player={call['callId']}"),
    ):
        page.goto("/CallRecorder/" + place)
        if place:
            loaded(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, name
        shoot(page, f"phone-{name}")
    page.tap("[data-do=play]")
    until(page, "document.querySelector('audio').currentTime > 0.3")
    context.close()


def test_details_in_an_iframe_without_menu(page: Page, service: Running, call: dict[str, Any]) -> None:
    enter(page, service)
    place = f"/CallRecorder/?callDetails={call['callId']}&user=admin&password={service.password}&nomenu"
    page.evaluate(
        "(src) => { const f = document.createElement('iframe'); f.src = src; document.body.append(f); }",
        place,
    )
    frame = page.frame_locator("iframe")
    frame.locator("[role=dialog]").wait_for()
    assert frame.locator("header.top").count() == 0


def test_wrong_password_shows_the_form_again(page: Page, service: Running) -> None:
    answer = page.goto("/CallRecorder/?user=admin&password=wrong&tenant=default")
    assert answer is not None
    assert answer.status == 401
    assert page.get_by_role("alert").is_visible()
    assert page.input_value("[name=user]") == "admin"
    shoot(page, "login")
    page.fill("[name=password]", service.password)
    page.click("form button")
    page.wait_for_selector("tbody tr")
    service.rows("DELETE FROM login_failures")


def test_administration_pages(page: Page, service: Running) -> None:
    enter(page, service)
    for name in ("Volumes", "Users", "Audit"):
        page.goto(f"/CallRecorder/{name}")
        assert page.locator("h1").is_visible()
        shoot(page, name.lower())
