"""The pages in a real browser: Debian's headless Chromium. Screenshots go to CALLREPLAY_SCREENSHOTS if set."""

from __future__ import annotations

import html
import http.server
import io
import json
import os
import shutil
import socketserver
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import numpy as np
import pytest
from argon2 import PasswordHasher
from axe_playwright_python.base import AXE_SCRIPT
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Frame, Page, Route, ViewportSize, sync_playwright

from callreplay.service.app import create_app
from callreplay.service.settings import Settings
from tests.captures import pcap, rtp, udp

from .test_embedding import serving

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = [pytest.mark.browser, pytest.mark.database]
HOME = "/CallRecorder/"
DESKTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=390, height=844)


INK = (
    "(() => { const c = document.querySelector('canvas'); if (!c) return 0; "
    "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; "
    "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()"
)
"""Script that counts the waveform's pixels that are drawn."""
NOW = "document.querySelector('audio').currentTime"
UNFOLD = "(all => { for (const one of all) one.open = true; return all.length; })(document.querySelectorAll('details'))"
STATE = "document.querySelector('.player').dataset.state"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium-headless-shell")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium-headless-shell is not installed")
        pytest.skip("chromium-headless-shell is not installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-gpu"],
        )
        yield opened
        opened.close()


@contextmanager
def watched(context: BrowserContext) -> Iterator[Page]:
    """A page in which no script fails and our policy forbids nothing that we do."""
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None
    )
    yield opened
    context.close()
    assert wrong == []


@pytest.fixture
def page(browser: Browser, service: Running) -> Iterator[Page]:
    with watched(browser.new_context(base_url=service.base, locale="en-GB", viewport=DESKTOP)) as opened:
        yield opened


@pytest.fixture
def phone(browser: Browser, service: Running) -> Iterator[Page]:
    context = browser.new_context(
        base_url=service.base,
        viewport=PHONE,
        color_scheme="dark",
        has_touch=True,
        is_mobile=True,
        locale="de",
    )
    with watched(context) as opened:
        yield opened


def until(page: Page | Frame, expression: str) -> None:
    """Wait for it. Playwright's own wait compiles text inside the page, which our policy rightly forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def loaded(page: Page | Frame) -> None:
    """The player has drawn its peaks and waits to be started."""
    until(page, INK + " > 3000")
    assert page.evaluate(STATE) == "ready"


def enter(page: Page, service: Running, query: str = "") -> None:
    answer = page.goto(f"{HOME}?user=admin&password={service.password}{query}")
    assert answer is not None
    assert answer.ok


def plays(page: Page | Frame) -> None:
    page.click("[data-do=play]")
    until(page, NOW + " > 0.3")


# -- search, details ------------------------------------------------------------------------------------------------


def test_log_in_by_url_search_open_and_play(page: Page, service: Running) -> None:
    enter(page, service)
    assert service.password not in page.url
    assert page.locator("tbody tr").count() == 3
    assert page.get_by_role("status").inner_text() == "3 calls"
    page.fill("[name=q]", "from:ana")
    page.click("form.search .line button")
    page.wait_for_url("**callerName=ana**")
    page.locator("tbody tr").first.wait_for()
    assert page.locator("tbody tr").count() == 1
    page.click("tbody a[id]")
    page.get_by_role("dialog").wait_for()
    loaded(page)
    plays(page)
    for tab in ("Media", "Events", "Advanced"):
        page.click(f".tabs >> text={tab}")
        assert page.locator(".tabs [aria-current=page]").inner_text() == tab
    page.keyboard.press("Escape")
    page.wait_for_url("**/CallRecorder/?callerName=ana**")
    assert page.get_by_role("dialog").count() == 0


def test_times_are_chosen_from_a_calendar(page: Page, service: Running, call: dict[str, Any]) -> None:
    enter(page, service)
    day, _, clock = call["beginTime"].partition("-")
    page.click(".more summary")
    page.fill("[name=beginTime]", f"{day.replace('.', '-')}T{clock.replace('.', ':')}")
    page.fill("[name=endTime]", f"{day.replace('.', '-')}T{clock.replace('.', ':')}")
    page.click("form.search .sheet button")
    page.wait_for_url("**endTime=**")
    page.locator("tbody tr").first.wait_for()
    assert page.locator("tbody tr").count() == 1
    assert "Ana Pop" in page.locator("tbody tr").inner_text()


def test_the_dialog_holds_the_focus_and_gives_it_back(
    page: Page, service: Running, call: dict[str, Any]
) -> None:
    enter(page, service)
    page.focus(f"#call-{call['callId']}")
    page.keyboard.press("Enter")
    page.wait_for_url("**callDetails=**")
    inside = (
        "document.activeElement !== null && document.querySelector('dialog').contains(document.activeElement)"
    )
    until(page, inside)
    assert page.evaluate("document.querySelector('dialog').matches(':modal')")
    assert page.get_attribute("dialog", "aria-modal") == "true"
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        where = page.evaluate(
            "(e => document.querySelector('dialog').contains(e) ? e.outerHTML.slice(0, 60) : e.tagName)"
            "(document.activeElement)"
        )
        seen.add(where)
    # Between the last and the first the browser's own controls have their turn: the body then has the focus.
    assert all(each.startswith("<") or each == "BODY" for each in seen), seen
    assert len(seen) > 10, "play, tabs, downloads, description, ..."
    page.keyboard.press("Escape")
    page.wait_for_url(f"**#call-{call['callId']}")
    until(page, f"document.activeElement.id === 'call-{call['callId']}'")


def test_every_tab_of_the_details_is_reached_by_keys_alone(
    page: Page, service: Running, call: dict[str, Any]
) -> None:
    enter(page, service, f"&callDetails={call['callId']}")
    until(page, "document.querySelector('dialog').matches(':modal')")
    for tab in ("Media", "Events", "Advanced", "General"):
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText") == tab:
                break
        page.keyboard.press("Enter")
        page.wait_for_url(f"**tab={tab.lower()}")
        assert page.locator(".tabs [aria-current=page]").inner_text() == tab
        until(page, "document.querySelector('dialog').matches(':modal')")


# -- player ---------------------------------------------------------------------------------------------------------


def test_click_in_the_waveform_seeks_before_and_while_it_plays(
    page: Page, service: Running, call: dict[str, Any]
) -> None:
    enter(page, service, f"&player={call['callId']}")
    loaded(page)
    box = page.locator("canvas.wave").bounding_box()
    assert box is not None
    pcm, rate = spoken(service, call)
    for part in (0.5, 0.25):
        page.mouse.click(box["x"] + box["width"] * part, box["y"] + box["height"] / 2)
        at = page.evaluate(NOW)
        assert at == pytest.approx(len(pcm) / rate * part, abs=0.1), (
            "of the audio, which is shorter than the call"
        )
        if page.evaluate("document.querySelector('audio').paused"):
            page.click("[data-do=play]")
        until(page, f"{NOW} > {at} + 0.3")
        assert page.evaluate(NOW) < at + 3, "from there, not from the start"


def test_keys_seek_and_play(page: Page, service: Running, call: dict[str, Any]) -> None:
    enter(page, service, f"&player={call['callId']}")
    loaded(page)
    page.focus("canvas.wave")
    pcm, rate = spoken(service, call)
    length = len(pcm) / rate
    assert page.locator(".total").inner_text() == f"/ 0:{int(length):02}"
    for key, wanted in (
        ("ArrowRight", 5.0), ("ArrowRight", 10.0), ("ArrowLeft", 5.0), ("PageUp", min(35.0, length)), ("Home", 0.0),
        ("ArrowLeft", 0.0), ("End", length), ("PageDown", max(length - 30.0, 0.0)),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate(NOW) == pytest.approx(wanted, abs=0.1), key
    assert page.get_attribute("canvas.wave", "aria-valuenow") == str(round(page.evaluate(NOW)))
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    until(page, NOW + " > 0.2")
    assert page.get_attribute("[data-do=play]", "aria-pressed") == "true"
    page.keyboard.press("k")
    until(page, "document.querySelector('audio').paused")
    page.click("[data-do=forward]")
    at = page.evaluate(NOW)
    assert at > 10
    page.click("[data-do=back]")
    assert page.evaluate(NOW) == pytest.approx(at - 10, abs=0.1)


def test_speed(page: Page, service: Running, call: dict[str, Any]) -> None:
    enter(page, service, f"&player={call['callId']}")
    loaded(page)
    plays(page)

    def pace() -> float:
        clocks = f"[{NOW}, performance.now() / 1000]"
        media, real = page.evaluate(clocks)
        page.wait_for_timeout(700)
        media_then, real_then = page.evaluate(clocks)
        return float((media_then - media) / (real_then - real))

    usual = pace()
    page.select_option("[data-do=speed]", "2")
    page.wait_for_timeout(200)
    assert pace() / usual == pytest.approx(2, rel=0.25)


TAP = """(() => {
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to === this.context.destination) {
      const tap = this.context.createScriptProcessor(1024, 2, 2);
      tap.onaudioprocess = ({ inputBuffer }) => {
        if (!window.heard) return;
        [0, 1].forEach((channel) => {
          for (const x of inputBuffer.getChannelData(channel)) window.heard[channel] += x * x;
        });
        window.heard[2] += inputBuffer.length;
      };
      connect.call(this, tap);
      connect.call(tap, to);
    }
    return connect.call(this, to, ...rest);
  };
})();"""
"""Script that measures what the page's audio graph sends to the loudspeakers: energy of each channel, samples."""


def spoken(service: Running, call: dict[str, Any]) -> tuple[NDArray[np.float64], int]:
    """The stereo wav of the call, ``(n, 2)``, full scale 1; and its rate."""
    with service.basic() as client:
        asked = {"callId": call["callId"], "format": "wav", "channels": "stereo"}
        answer = client.get("/CallRecorder/Transcoder", params=asked, follow_redirects=True)
    with wave.open(io.BytesIO(answer.content)) as audio:
        frames = np.frombuffer(audio.readframes(audio.getnframes()), "<i2").reshape(-1, 2)
        return frames / 32768, audio.getframerate()


def test_a_muted_leg_is_silent_and_the_other_as_loud_as_before(
    page: Page, service: Running, call: dict[str, Any]
) -> None:
    pcm, rate = spoken(service, call)
    seconds, slack = 5.0, 0.5
    energy = np.concatenate([np.zeros((1, 2)), np.cumsum(pcm**2, 0)])

    def power(begin: float, end: float) -> Any:
        """Least and greatest power of both channels of the file between two times, or so.

        The clock of the page and what the tap hears lie apart by what the audio system buffers, on a busy machine by
        hundreds of milliseconds.
        """
        first, last = (
            np.clip(((at + np.arange(-slack, slack, 0.02)) * rate).astype(int), 0, len(pcm))
            for at in (begin, end)
        )
        found = (energy[last] - energy[first]) / (last - first)[:, None]
        return np.array([found.min(0), found.max(0)])

    def unevenness(begin: float) -> float:
        least, greatest = power(begin, begin + seconds)
        return float((greatest / np.maximum(least, 1e-9)).max())

    start = min(np.arange(1, len(pcm) / rate - seconds - 1, 0.1).tolist(), key=unevenness)
    assert unevenness(start) < 1.3, "a place as loud as what is around it, on both sides"

    page.add_init_script(TAP)
    enter(page, service, f"&player={call['callId']}")
    loaded(page)

    def heard() -> list[tuple[float, float]]:
        """Power of both channels while that place plays, each over the least and the greatest of the file there."""
        page.evaluate(f"{NOW} = {start}")
        page.click("[data-do=play]")
        until(page, f"{NOW} >= {start} + 0.05")
        begin = page.evaluate(f"(() => {{ window.heard = [0, 0, 0]; return {NOW}; }})()")
        until(page, f"{NOW} >= {start} + {seconds}")
        (one, two, samples), end = page.evaluate(
            f"(() => {{ const h = window.heard; window.heard = null; return [h, {NOW}]; }})()"
        )
        page.click("[data-do=play]")
        assert samples > 60_000
        over = np.array([one, two]) / samples / power(begin, end)
        return [(float(least), float(greatest)) for least, greatest in over.T]

    def as_loud(channel: tuple[float, float]) -> bool:
        over_least, over_greatest = channel
        return over_least > 0.7 and over_greatest < 1.4  # half as loud is 0.25, the sum of both 2

    page.uncheck("[data-do=caller]")
    caller, called = heard()
    assert caller == (0.0, 0.0)
    assert as_loud(called), called
    page.check("[data-do=caller]")
    page.uncheck("[data-do=called]")
    caller, called = heard()
    assert called == (0.0, 0.0)
    assert as_loud(caller), caller
    page.check("[data-do=called]")
    caller, called = heard()
    assert as_loud(caller), caller
    assert as_loud(called), called


def test_downloads(page: Page, service: Running, call: dict[str, Any]) -> None:
    enter(page, service, f"&player={call['callId']}")
    loaded(page)
    for form, magic in (("wav", b"RIFF"), ("spx", b"OggS"), ("png", b"\x89PNG")):
        with page.expect_download() as waiting:
            page.get_by_role("link", name=f"Download as {form}").click()
        assert waiting.value.suggested_filename == f"2026-01-06_08-30-00_0721555010_2001.{form}"
        content = Path(waiting.value.path()).read_bytes()
        assert content.startswith(magic)
        assert len(content) > 5000
    assert page.evaluate(STATE) == "ready", "still on the player's page"


@pytest.fixture(scope="module")
def vault(service: Running) -> Iterator[dict[str, str]]:
    """Calls of a tenant of their own that cannot be played: uuid by what is wrong."""
    [tenant] = service.rows("INSERT INTO tenants (name) VALUES ('vault') RETURNING id")
    service.rows(
        "INSERT INTO users (tenant_id, login, password_hash, role) VALUES (%s, 'vera', %s, 'user')",
        tenant["id"],
        PasswordHasher().hash("vera's password"),
    )
    [volume] = service.rows("SELECT path FROM storage_volumes WHERE id = 1")
    noise = np.random.default_rng(5).integers(0, 256, (150, 170), dtype=np.uint8)
    secret = [
        (i * 20_000_000, udp("192.0.2.1", 4000, "192.0.2.2", 5000, rtp(i, i * 160, 1, 0, row.tobytes())))
        for i, row in enumerate(noise)
    ]
    contents = {"encrypted": pcap(secret), "unreadable": b"no capture at all"}
    made = {}
    for name, content in contents.items():
        Path(volume["path"], f"{name}.pcap").write_bytes(content)
        [row] = service.rows(
            "INSERT INTO calls (tenant_id, identity, started_at, ended_at, caller_number, called_number) VALUES"
            " (%s, %s, now(), now() + interval '3 seconds', '1', '2') RETURNING uuid",
            tenant["id"],
            name,
        )
        made[name] = str(row["uuid"])
        service.rows(
            "INSERT INTO call_files (call_uuid, leg, volume_id, path, format) VALUES (%s, 'caller', 1, %s, 'pcap')",
            row["uuid"],
            f"{name}.pcap",
        )
    yield made
    for name in contents:
        Path(volume["path"], f"{name}.pcap").unlink()


@pytest.mark.parametrize(
    ("name", "state", "said"),
    [
        ("encrypted", "encrypted", "The call is encrypted. It cannot be played without its keys."),
        ("unreadable", "failed", "The recording cannot be played."),
    ],
)
def test_a_call_that_cannot_be_played_says_why(
    page: Page, vault: dict[str, str], name: str, state: str, said: str
) -> None:
    page.goto(f"{HOME}?player={vault[name]}&user=vera&password=vera's password&tenant=vault")
    until(page, f"{STATE} === '{state}'")
    assert page.get_by_role("alert").inner_text() == said
    assert page.locator("[data-do=play]").is_disabled()
    assert "Loading" not in page.locator(".player").inner_text()


def test_the_player_says_that_it_loads_and_when_its_page_is_too_old(
    page: Page, service: Running, call: dict[str, Any]
) -> None:
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route("**/Temp/**/*.zoom", keep)
    enter(page, service, f"&player={call['callId']}")
    until(page, f"{STATE} === 'loading'")
    assert page.get_by_text("Loading the recording…").is_visible()
    until(page, "true")
    assert len(held) == 1
    held[0].continue_()
    page.unroute("**/Temp/**/*.zoom")
    loaded(page)
    assert not page.get_by_text("Loading the recording…").is_visible()
    page.route("**/Temp/**/*.wav", lambda route: route.fulfill(status=410, json={"status": 410}))
    page.click("[data-do=play]")
    until(page, f"{STATE} === 'expired'")
    page.unroute("**/Temp/**/*.wav")
    page.get_by_role("link", name="Reload").click()
    loaded(page)
    plays(page)


class Cut:
    """A server that breaks off in the midst of every answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = 0
        cut = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n["
                )
                cut.answers += 1

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True  # a browser also opens connections that it never uses

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def route(self, route: Route) -> None:
        """Send a request there."""
        self.asked += 1
        route.continue_(url=f"http://127.0.0.1:{self.server.server_address[1]}/")


@pytest.fixture
def cut() -> Iterator[Cut]:
    made = Cut()
    with made.server:
        yield made
        made.server.shutdown()


@pytest.mark.parametrize("place", ["**/Temp/**/*.json", "**/Temp/**/*.zoom"])
def test_a_player_whose_answer_breaks_off_raises_nothing(
    page: Page, service: Running, call: dict[str, Any], cut: Cut, place: str
) -> None:
    page.route(place, cut.route)
    enter(page, service, f"&player={call['callId']}")
    end = time.monotonic() + 60
    while not cut.answers:
        assert time.monotonic() < end
        page.wait_for_timeout(50)
    until(page, f"{STATE} === '{'failed' if 'zoom' in place else 'ready'}'")
    page.wait_for_timeout(300)


def test_the_page_of_jobs_looks_again_after_an_answer_that_broke_off(
    page: Page, service: Running, cut: Cut
) -> None:
    enter(page, service)
    page.goto(f"{HOME}Jobs")
    broken = 2

    def answer(route: Route) -> None:
        if cut.asked < broken:
            cut.route(route)
        else:
            route.continue_()

    page.route(f"**{HOME}Jobs", answer)
    # No job is under way: the page is told that there is one, and its script starts once more.
    page.evaluate(
        "() => { document.getElementById('jobs').dataset.refresh = '0.1';"
        " return import(document.querySelector('script[src$=\"jobs.js\"]').src + '?again'); }"
    )
    until(page, "document.getElementById('jobs').dataset.refresh === undefined")
    assert cut.answers == broken


def test_without_script_the_browsers_own_player_plays(
    browser: Browser, service: Running, call: dict[str, Any]
) -> None:
    context = browser.new_context(base_url=service.base, java_script_enabled=False, viewport=DESKTOP)
    page = context.new_page()
    enter(page, service)
    page.fill("[name=q]", "from:ana")
    page.click("form.search .line button")
    page.click("tbody a[id]")
    for place in ("details", "player"):
        audio = page.locator("audio[controls]")
        assert audio.is_visible(), place
        assert not page.locator("canvas.wave").is_visible()
        assert not page.locator("[data-do=play]").is_visible()
        page.get_by_role("img", name="Waveform").wait_for()
        assert not page.get_by_text("Loading").is_visible()
        assert not page.get_by_role("alert").is_visible()
        source = audio.get_attribute("src")
        assert source is not None
        with service.client() as client:
            assert client.get(source).content.startswith(b"RIFF")
        with page.expect_download() as waiting:
            page.get_by_role("link", name="Download as wav").click()
        assert Path(waiting.value.path()).read_bytes().startswith(b"RIFF")
        shoot(page, f"noscript-{place}")
        if place == "details":
            page.get_by_role("link", name="Close").click()
            assert page.locator("dialog").count() == 0
            page.goto(f"{HOME}?player={call['callId']}")
    context.close()


def test_the_player_on_a_phone(phone: Page, service: Running, call: dict[str, Any]) -> None:
    enter(phone, service, f"&player={call['callId']}")
    loaded(phone)
    box = phone.locator("canvas.wave").bounding_box()
    assert box is not None
    phone.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    at = phone.evaluate(NOW)
    assert at == pytest.approx(call["duration"] / 2, abs=1.5)
    phone.tap("[data-do=play]")
    until(phone, f"{NOW} > {at} + 0.3")
    for name in ("back", "play", "forward"):
        button = phone.locator(f"[data-do={name}]").bounding_box()
        assert button is not None
        assert min(button["width"], button["height"]) >= 44, "a finger's width"


# -- other people's pages -------------------------------------------------------------------------------------------


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


class Portal(http.server.BaseHTTPRequestHandler):
    """Another site's page, which frames the address that it is asked with."""

    def do_GET(self) -> None:
        [src] = parse_qs(urlsplit(self.path).query).get("src", [""])
        frame = f'<iframe width="900" height="700" src="{html.escape(src)}"></iframe>'
        body = f"<!doctype html><title>CRM</title>{frame}"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def portal() -> Iterator[str]:
    """Its origin. ``localhost`` is another site than 127.0.0.1, not only another origin."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Portal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def framed(page: Page, origin: str, address: str) -> Frame:
    page.goto(f"{origin}/?src={quote(address, safe='')}")
    [frame] = page.main_frame.child_frames
    end = time.monotonic() + 60
    while frame.url in ("", "about:blank"):
        assert time.monotonic() < end
        page.wait_for_timeout(50)
    return frame


CUT = """[...document.querySelectorAll("button, summary, label, legend, h1:not(.unseen), h2, .tabs a, .top a, dt")]
    .filter((each) => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1)
    .filter((each) => getComputedStyle(each).overflow !== "visible").map((each) => each.outerHTML.slice(0, 90))"""
MOVING = """[document.getAnimations().length, ...[...document.querySelectorAll("a, button, dialog")]
    .filter((each) => getComputedStyle(each).transitionDuration !== "0s")]"""


def test_every_page_stands_in_large_letters_and_forced_colours_and_keeps_still(
    browser: Browser, service: Running, call: dict[str, Any]
) -> None:
    context = browser.new_context(
        base_url=service.base, viewport=DESKTOP, forced_colors="active", reduced_motion="reduce"
    )
    # As somebody has it who sets letters of twice the size: everything that is text grows with the root's.
    context.add_init_script(
        "document.addEventListener('DOMContentLoaded', () => { document.documentElement.style.fontSize = '200%'; });"
    )
    wrong: dict[str, list[str]] = {}
    with watched(context) as page:
        enter(page, service)
        assert page.evaluate("matchMedia('(forced-colors: active)').matches")
        for name, place in places(call).items():
            page.goto(HOME + place)
            if name in ("details", "player"):
                loaded(page)
                assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") == 32
                focused = "getComputedStyle(document.querySelector('.wave')).outlineStyle"
                page.focus(".wave[role=slider]")
                page.keyboard.press("End")
                assert page.evaluate(focused) == "solid"
            shoot(page, f"{name}-large")
            found = [f"cut: {each}" for each in page.evaluate(CUT)]
            if page.evaluate(MOVING) != [0]:
                found.append("moves")
            if (over := page.evaluate("document.documentElement.scrollWidth")) > DESKTOP["width"]:
                found.append(f"{over} pixels wide")
            if found:
                wrong[name] = found
    assert json.dumps(wrong, indent=1) == "{}"


def test_the_list_s_style_stops_at_the_player(
    page: Page, phone: Page, service: Running, call: dict[str, Any]
) -> None:
    for each in (page, phone):
        enter(each, service, f"&callDetails={call['callId']}")
        loaded(each)
        for tool in ("mark-start", "mark-end", "zoom-out", "zoom-in", "whole", "spectrogram"):
            assert each.locator(f"[data-do={tool}]").is_visible(), tool
        assert (
            each.evaluate("getComputedStyle(document.querySelector('details.keys')).borderTopWidth") == "0px"
        )


@pytest.mark.parametrize("what", ["callDetails", "player"])
def test_another_sites_frame_shows_a_call_only_where_it_is_allowed(
    browser: Browser, service: Running, call: dict[str, Any], tmp_path: Path, what: str
) -> None:
    query = f"{HOME}?{what}={call['callId']}&user=admin&password={service.password}&nomenu"
    with portal() as friend, portal() as stranger:
        settings = Settings(
            database_url=service.database_url,
            data_dir=str(tmp_path),
            frame_ancestors=(friend,),
            secure_cookies=True,
        )
        with serving(create_app(settings)) as base:
            page = browser.new_context(viewport=DESKTOP).new_page()
            for origin, address in ((friend, service.base), (stranger, service.base), (stranger, base)):
                refused = framed(page, origin, address + query)
                assert refused.url.startswith("chrome-error:"), "not shown, and not logged in by it either"
            frame = framed(page, friend, base + query)
            frame.locator(".player").wait_for()
            assert "password" not in frame.url
            assert frame.locator("header.top").count() == 0
            assert frame.locator("footer").count() == 0
            loaded(frame)
            plays(frame)
            [cookie] = [each for each in page.context.cookies() if each["name"] == "callreplay_session"]
            assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "None")
            page.context.close()


# -- logging in -----------------------------------------------------------------------------------------------------


def test_wrong_password_shows_the_form_again(page: Page, service: Running) -> None:
    answer = page.goto("/CallRecorder/?user=admin&password=wrong&tenant=default&callerName=ana")
    assert answer is not None
    assert answer.status == 401
    assert page.get_by_role("alert").is_visible()
    assert page.input_value("[name=user]") == "admin"
    page.get_by_role("link", name="Deutsch").click()
    assert page.input_value("[name=user]") == "admin"
    page.fill("[name=password]", service.password)
    page.get_by_role("button", name="Anmelden").click()
    page.wait_for_selector("tbody tr")
    assert page.locator("tbody tr").count() == 1, "the search outlasts the login"
    service.rows("DELETE FROM login_failures")


def test_another_tenants_call_is_not_there(page: Page, vault: dict[str, str], call: dict[str, Any]) -> None:
    page.goto(f"{HOME}?user=vera&password=vera's password&tenant=vault")
    assert page.locator("tbody tr").count() == 2
    answer = page.goto(f"{HOME}?callDetails={call['callId']}")
    assert answer is not None
    assert answer.status == 404
    assert page.get_by_role("link", name="Calls", exact=True).is_visible(), "the menu stays"
    assert page.get_by_role("link", name="Users").count() == 0


# -- every page -----------------------------------------------------------------------------------------------------


def shoot(page: Page, name: str) -> None:
    folder = os.environ.get("CALLREPLAY_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


def places(call: dict[str, Any]) -> dict[str, str]:
    details = f"?callDetails={call['callId']}"
    return {
        "list": "",
        "list-refused": "?callerIP=10.0.0.999",
        "list-empty": "?callerName=nobody",
        "details": details,
        **{f"details-{tab}": f"{details}&tab={tab}" for tab in ("media", "events", "advanced")},
        "details-nomenu": f"{details}&nomenu",
        "player": f"?player={call['callId']}",
        "volumes": "Volumes",
        "retention": f"Retention?number={call['callerNumber']}",
        "tenants": "Tenants",
        "users": "Users",
        "jobs": "Jobs",
        "audit": "Audit",
        "account": "Account",
        "problem": "Nothing",
    }


def violations(page: Page) -> list[str]:
    """What axe-core finds that is serious: rule, and where."""
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    assert len(found["passes"]) > 10, "it did look"
    return [
        f"{each['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


LOOKS: dict[str, dict[str, Any]] = {
    "desktop-light": {"viewport": DESKTOP, "color_scheme": "light"},
    "phone-dark": {"viewport": PHONE, "color_scheme": "dark", "is_mobile": True, "has_touch": True},
    "desktop-dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "wide-light": {"viewport": {"width": 1920, "height": 1080}, "color_scheme": "light"},
    "phone-light": {"viewport": PHONE, "color_scheme": "light", "is_mobile": True, "has_touch": True},
}
"""The first two are every width and every colour; the others are looked at when pictures are asked for."""


@pytest.mark.parametrize("look", LOOKS if os.environ.get("CALLREPLAY_SCREENSHOTS") else [*LOOKS][:2])
def test_every_page_can_be_used_by_everybody_and_fits(
    browser: Browser, service: Running, call: dict[str, Any], look: str
) -> None:
    context = browser.new_context(base_url=service.base, locale="en-GB", **LOOKS[look])
    wrong: dict[str, list[str]] = {}
    with watched(context) as page:

        def look_at(name: str) -> None:
            if name in ("details", "player", "details-nomenu"):
                loaded(page)
            shoot(page, f"{name}-{look}")
            if page.evaluate(UNFOLD):
                shoot(page, f"{name}-unfolded-{look}")
            if found := violations(page):
                wrong[name] = found
            width = LOOKS[look]["viewport"]["width"]
            over = page.evaluate("document.documentElement.scrollWidth")
            if over > width:
                wrong.setdefault(name, []).append(f"{over} pixels wide")

        page.goto(f"{HOME}?user=admin&password=wrong")
        look_at("login")
        service.rows("DELETE FROM login_failures")
        enter(page, service)
        for name, place in places(call).items():
            page.goto(HOME + place)
            look_at(name)
    assert json.dumps(wrong, indent=1) == "{}"


@pytest.mark.parametrize("what", ["callDetails", "player"])
def test_another_sites_frame_shows_a_call_over_plain_http(
    browser: Browser, service: Running, call: dict[str, Any], tmp_path: Path, what: str
) -> None:
    """No cookie of ours goes there: a ticket that is used once leads to the page, and from it to the next."""
    query = f"{HOME}?{what}={call['callId']}&user=admin&password={service.password}&nomenu"
    with portal() as friend:
        settings = Settings(
            database_url=service.database_url, data_dir=str(tmp_path), frame_ancestors=(friend,)
        )
        with serving(create_app(settings)) as base:
            page = browser.new_context(viewport=DESKTOP).new_page()
            frame = framed(page, friend, base + query)
            frame.locator(".player").wait_for()
            assert page.context.cookies(base) == [], "the browser kept none"
            assert "password" not in frame.url
            assert "ticket=" in frame.url
            loaded(frame)
            plays(frame)
            used = frame.url
            if what == "callDetails":
                frame.locator("nav.tabs a").nth(1).click()
                frame.locator("h3").first.wait_for()
                assert frame.url != used
                frame.locator("nav.tabs a").first.click()
                frame.locator("textarea[name=description]").fill("said in a frame")
                frame.locator("textarea[name=description] + button, form.stack button").first.click()
                frame.locator(".note").wait_for()
                [row] = service.rows("SELECT description FROM calls WHERE uuid = %s", call["callId"])
                assert row["description"] == "said in a frame"
                service.rows("UPDATE calls SET description = '' WHERE uuid = %s", call["callId"])
            for link in frame.locator(".downloads a").all():
                address = str(link.get_attribute("href"))
                assert httpx.get(base + address).status_code == 200, "without a cookie too"
            assert 'name="password"' in httpx.get(used).text, "a ticket is used once"
            page.context.close()


@pytest.mark.parametrize("what", ["callDetails", "player"])
def test_keys_work_on_a_page_that_has_just_been_opened(
    page: Page, service: Running, call: dict[str, Any], what: str
) -> None:
    page.goto(f"{HOME}?{what}={call['callId']}&user=admin&password={service.password}&nomenu")
    loaded(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('audio').currentTime > 0")
    page.keyboard.press("k")
    page.wait_for_function("!document.querySelector('audio').paused")
