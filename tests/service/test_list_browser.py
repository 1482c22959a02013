"""The list of calls in a real browser: how much of it is seen, its keys, playing in the row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from callreplay.service import rendering

from .test_browser import HOME, UNFOLD, browser, enter, page, phone, shoot, until, violations
from .test_list import LONG, office

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from .conftest import Running

__all__ = ["browser", "office", "page", "phone"]
pytestmark = [pytest.mark.browser, pytest.mark.database]
OFFICE = "user=olga&password=olga's password&tenant=office"
SEEN = (
    "[...document.querySelectorAll('tbody tr')]"
    ".filter(row => row.getBoundingClientRect().bottom <= innerHeight).length"
)
FOCUSED = "document.activeElement.id"
SOUND = "document.querySelector('.bar audio')"


def test_much_of_the_list_is_seen_and_long_names_break_nothing(page: Page, phone: Page, office: int) -> None:
    for shown, rows in ((page, 30), (phone, 10)):
        shown.goto(f"{HOME}?{OFFICE}")
        assert shown.evaluate(SEEN) >= rows
        shown.goto(f"{HOME}?callerName={LONG}")
        assert shown.locator("tbody tr").count() == 1
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert shown.locator(".c-caller span").first.get_attribute("title") == LONG
        shoot(shown, f"list-long-{rows}")


def test_the_list_is_walked_by_keys(page: Page, office: int) -> None:
    page.goto(f"{HOME}?{OFFICE}&callerName=ana")
    order = [str(link.get_attribute("id")) for link in page.locator("tbody a[id]").all()]
    assert page.locator("tbody .play").count() > 5
    for key, place in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        assert page.evaluate(FOCUSED) == order[place]
    page.keyboard.press("/")
    assert page.evaluate(FOCUSED) == "q"
    page.keyboard.type("jk?")
    assert page.input_value("#q") == "jk?", "keys are letters where one writes"
    page.fill("#q", "")
    page.locator(f"#{order[1]}").focus()
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog", name="Keys").is_visible()
    page.locator(f"#{order[1]}").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**callDetails={order[1][5:]}")
    for key, place in (("n", 2), ("b", 1), ("b", 0)):
        page.keyboard.press(key)
        page.wait_for_url(f"**callDetails={order[place][5:]}")
    page.keyboard.press("Escape")
    page.wait_for_url(f"**#{order[0]}")
    assert "callerName=ana" in page.url


def test_a_call_plays_in_its_row(page: Page, service: Running, call: dict[str, Any]) -> None:
    enter(page, service)
    row = page.locator("tbody tr", has=page.locator(f"#call-{call['callId']}"))
    row.locator(".play").click()
    until(page, f"{SOUND}.currentTime > 0.2")
    assert "Ana Pop" in page.locator(".bar .what").inner_text()
    assert "playing" in str(row.get_attribute("class"))
    assert page.url.split("?")[0].endswith(HOME), "the list stays"
    page.locator(f"#call-{call['callId']}").focus()
    page.keyboard.press("p")
    until(page, f"{SOUND}.paused")
    page.keyboard.press("p")
    until(page, f"!{SOUND}.paused")
    shoot(page, "list-playing")
    page.click(".bar [data-do=close]")
    assert not page.locator(".bar").is_visible()
    assert page.evaluate(f"{SOUND}.paused")


def test_a_recording_that_is_not_there_is_said_so(page: Page, office: int) -> None:
    page.goto(f"{HOME}?{OFFICE}")
    page.locator(".play").first.click()
    page.get_by_text("The recording cannot be played.").wait_for()


def test_line_chips_menus_and_orders(page: Page, office: int) -> None:
    page.goto(f"{HOME}?{OFFICE}")
    page.fill("#q", "from:ana loss>0.5")
    page.keyboard.press("Enter")
    page.wait_for_url("**/CallRecorder/?callerName=ana&lossAbove=0.5")
    assert page.locator(".chip").count() == 2
    page.click(".chip >> nth=0")
    page.wait_for_url("**/CallRecorder/?lossAbove=0.5")
    page.click("th >> text=MOS")
    page.wait_for_url("**sort=mos")
    assert page.get_attribute(".list th.c-mos", "aria-sort") == "ascending"
    found = [float(text) for text in page.locator("td.c-mos").all_inner_texts()]
    assert found == sorted(found)
    page.click("summary >> text=Columns")
    page.check("[name=column][value=tags]")
    page.click(".checks button")
    page.locator("th.c-tags").wait_for()
    assert "sort=mos" in page.url
    page.evaluate(UNFOLD)
    shoot(page, "list-menus")
    assert violations(page) == []


def test_the_scripts_are_small() -> None:
    static = Path(rendering.__file__).parent / "static"
    assert sum(path.stat().st_size for path in static.glob("*.js")) < 150_000


def test_the_keys_and_an_export_can_be_used_by_everybody(page: Page, service: Running) -> None:
    """What no address opens by itself: the list of keys, and the page of an export."""
    enter(page, service)
    page.goto(HOME + "?callerName=ana")
    page.keyboard.press("?")
    page.locator("#keys").wait_for()
    shoot(page, "keys")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator("summary", has_text="Export").click()
    page.locator('form[action$="/Export/audio"] button[value=wav]').click()
    page.wait_for_url("**/Export/*")
    page.locator('a[href$="calls.zip"]').wait_for()
    shoot(page, "export")
    assert violations(page) == []
