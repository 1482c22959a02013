"""The player's tools in a real browser: zoom by ranges, marks, selection, links, levels, frames."""

from __future__ import annotations

import io
import json
import re
import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page

from callreplay.call import Call
from callreplay.capture import open_capture
from callreplay.outputs.options import Options
from callreplay.service import engine
from callreplay.service.app import create_app
from callreplay.service.settings import Settings
from tests.captures import event, pcap, rtp, udp

from .test_browser import (
    DESKTOP,
    HOME,
    NOW,
    browser,
    enter,
    framed,
    loaded,
    page,
    phone,
    plays,
    portal,
    until,
    violations,
)
from .test_embedding import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from .conftest import Running

__all__ = ["browser", "page", "phone"]
pytestmark = [pytest.mark.browser, pytest.mark.database]
SAMPLES = Path(__file__).parents[2] / "samples"
STATIC = Path(engine.__file__).with_name("static")
SECONDS = 80
QUIET = (20.0, 36.0)  # of the long call, in seconds
LONG = "6b1f4a52-64a9-4a5e-9d5a-2f9b1f5f0c11"
PART = (
    "(given => [Number(given.get('start')), Number(given.get('end'))])"
    "(new URL(document.querySelector('.part input').value).searchParams)"
)


def ulaw(pcm: NDArray[np.int16]) -> NDArray[np.uint8]:
    """G.711, as near as a test needs it."""
    size = np.minimum(np.abs(pcm.astype(np.int32)) + 132, 32767)
    exponent = np.log2(size).astype(int) - 7
    code = (pcm < 0) * 128 | exponent << 4 | (size >> (exponent + 3)) & 15
    octets: NDArray[np.uint8] = (~code & 255).astype(np.uint8)
    return octets


def long_capture() -> bytes:
    """Two legs of talk, 16 seconds of nothing from ``QUIET`` on, a digit at 40 s, half a second lost at 50 s."""
    with open_capture(SAMPLES / "reservation.pcap") as capture:
        pcm = capture.calls[0].mix()
    records = []
    for leg in (0, 1):
        spoken = np.resize(pcm[:, leg], SECONDS * 8000)
        spoken[int(QUIET[0] * 8000) : int(QUIET[1] * 8000)] = 0
        octets = ulaw(spoken).reshape(-1, 160)
        ends = (("10.0.0.1", 4000), ("10.0.0.2", 4002))
        here, there = ends if leg == 0 else ends[::-1]
        for index, data in enumerate(octets):
            if leg == 0 and 2500 <= index < 2525:
                continue
            kind, ticks, marker, payload = 0, index * 160, index == 0, data.tobytes()
            if leg == 0 and 2000 <= index < 2008:
                step = index - 2000
                kind, ticks, marker = 101, 2000 * 160, step == 0
                payload = event(7, (min(step, 5) + 1) * 160, end=step >= 5)
            packet = rtp(index, ticks, 0x1000 + leg, kind, payload, marker)
            records.append((1_767_700_000_000_000_000 + index * 20_000_000, udp(*here, *there, packet)))
    return pcap(sorted(records, key=lambda record: record[0]))


@pytest.fixture(scope="module")
def long(service: Running) -> Iterator[str]:
    """A call that is longer than what is fetched of its peaks at once."""
    [volume] = service.rows("SELECT path FROM storage_volumes WHERE id = 1")
    path = Path(volume["path"], "long.pcap")
    path.write_bytes(long_capture())
    service.rows(
        "INSERT INTO calls "
        "(uuid, identity, tenant_id, wire_call_id, started_at, ended_at, caller_number, called_number) "
        "SELECT %s, 'long', id, 'long', now() - interval '80 seconds', now(), '100', '200' "
        "FROM tenants WHERE name = 'default'",
        LONG,
    )
    service.rows(
        "INSERT INTO call_files (call_uuid, leg, volume_id, path, format) VALUES (%s, 'both', 1, 'long.pcap', 'pcap')",
        LONG,
    )
    yield LONG
    service.rows("DELETE FROM calls WHERE uuid = %s", LONG)
    path.unlink()


def ask(service: Running, call: str, **asked: str) -> bytes:
    with service.basic() as client:
        answer = client.get(
            "/CallRecorder/Transcoder", params={"callId": call, **asked}, follow_redirects=True
        )
        assert answer.status_code == 200, answer.text
        return answer.content


# -- what the service says ------------------------------------------------------------------------------------------


def test_marks_say_what_happens_when(service: Running, long: str) -> None:
    marks = json.loads(ask(service, long, format="marks"))
    assert marks["duration"] == pytest.approx(SECONDS, abs=0.1)
    [(leg, start, length, digit)] = marks["digits"]
    assert (leg, digit) == (0, "7")
    assert start == pytest.approx(40, abs=0.05)
    assert length == pytest.approx(0.12, abs=0.05)
    [(leg, start, end, _)] = [gap for gap in marks["gaps"] if gap[3] == "loss"]
    assert (leg, start, end) == (0, pytest.approx(50, abs=0.03), pytest.approx(50.5, abs=0.03))
    assert not [talk for talk in marks["talk"] if talk[1] < QUIET[1] - 0.5 and talk[2] > QUIET[0] + 0.5]
    assert {talk[0] for talk in marks["talk"]} == {0, 1}


def test_marks_are_bounded_whatever_a_capture_holds() -> None:
    many = [(n * 0.05, n * 0.05 + 0.01) for n in range(200_000)]
    found = engine._few(many, 10_000.0)
    assert len(found) <= 10_001
    assert found[0][0] == 0
    assert found[-1][1] == pytest.approx(many[-1][1])
    assert engine._few([(3.0, 4.0), (1.0, 2.0)], 5.0) == [(1.0, 2.0), (3.0, 4.0)]


@pytest.mark.parametrize("end", [None, 2.0])
def test_two_threads_make_the_same_zoom_as_one(monkeypatch: pytest.MonkeyPatch, end: float | None) -> None:
    renderer, begun = Call.renderer, []

    def counted(call: Call, options: Options) -> Any:
        begun.append((options.start, options.end))
        return renderer(call, options)

    def made() -> bytes:
        begun.clear()
        with open_capture(SAMPLES / "wideband.pcapng") as capture:
            return b"".join(engine._zoom(capture.calls[0], Options(channels="stereo", end=end)))

    monkeypatch.setattr(Call, "renderer", counted)
    alone = made()
    assert begun == [(0.0, end)]
    monkeypatch.setattr(engine, "_LONG_S", 0)
    assert made() == alone
    (first, cut), rest = sorted(begun)
    assert first == 0
    assert rest == (cut, end)


def test_a_temporary_address_gives_a_part_of_what_it_is_for(service: Running, call: dict[str, Any]) -> None:
    with service.basic() as client:
        asked = {"callId": call["callId"], "format": "wav", "start": "2", "end": "12"}
        address = client.get("/CallRecorder/Transcoder", params=asked).headers["location"]

        def seconds(query: str) -> float:
            answer = client.get(address + query)
            assert answer.status_code == 200, answer.text
            with wave.open(io.BytesIO(answer.content)) as audio:
                return float(audio.getnframes() / audio.getframerate())

        assert seconds("") == 10
        assert seconds("?start=3&end=4.5") == 1.5
        assert seconds("?start=11") == 1
        for query in ("?start=1", "?end=13", "?start=x", "?start=5&end=4"):
            answer = client.get(address + query)
            assert answer.status_code == 400, query
            assert answer.json()["detail"]


# -- the picture ----------------------------------------------------------------------------------------------------


def test_finer_peaks_are_fetched_for_what_is_looked_at(page: Page, service: Running, long: str) -> None:
    asked: list[str] = []
    page.on(
        "request",
        lambda request: asked.append(request.headers.get("range", "")) if ".zoom" in request.url else None,
    )
    enter(page, service, f"&player={long}")
    loaded(page)
    assert asked == ["bytes=0-65535"], "one request shows the whole call"
    for _ in range(4):
        page.keyboard.press("+")
    until(page, "performance.getEntriesByType('resource').filter(e => e.name.includes('.zoom')).length > 1")
    page.wait_for_timeout(100)
    first, last = map(int, asked[1].removeprefix("bytes=").split("-"))
    octets = ask(service, long, format="zoom", channels="stereo")
    places = [struct.unpack_from("<Q", octets, 32 + 16 * level + 8)[0] for level in range(octets[24])]
    assert first in places
    assert last - first < 70_000
    page.keyboard.press("0")
    page.wait_for_timeout(100)
    assert len(asked) == 2, "what has come is kept"


def test_pinching_and_dragging_with_fingers(phone: Page, service: Running, long: str) -> None:
    enter(phone, service, f"&player={long}")
    loaded(phone)
    box = phone.locator("canvas.wave").bounding_box()
    assert box is not None
    touch = phone.context.new_cdp_session(phone)

    def send(kind: str, *xs: float) -> None:
        points = [{"x": box["x"] + x, "y": box["y"] + 40, "id": n} for n, x in enumerate(xs)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    # The whole picture as a text: of a square that is larger than the canvas it would be four hundred megabytes.
    picture = "document.querySelector('canvas.wave').toDataURL()"
    phone.evaluate(f"void (window.before = {picture})")
    send("touchStart", 100)
    send("touchStart", 100, 200)
    for wide in (150, 200, 250):
        send("touchMove", 150 - wide / 2, 150 + wide / 2)
    send("touchEnd")
    until(phone, f"{picture} !== window.before")
    assert phone.evaluate(NOW) == 0, "two fingers do not seek"
    send("touchStart", 200)
    send("touchMove", 100)
    send("touchEnd")
    assert phone.evaluate(NOW) == 0, "one finger moves what is shown"
    send("touchStart", 200)
    phone.wait_for_timeout(600)
    send("touchMove", 260)
    send("touchEnd")
    assert phone.locator(".part").is_visible(), "a finger that waits selects"


def test_the_spectrogram_is_of_what_is_looked_at(page: Page, service: Running, long: str) -> None:
    asked: list[str] = []
    page.on("response", lambda answer: asked.append(answer.url) if ".png" in answer.url else None)
    enter(page, service, f"&player={long}")
    loaded(page)
    page.click("[data-do=spectrogram]")
    dark = "document.querySelector('canvas.wave').getContext('2d').getImageData(300, 60, 1, 1).data.join()"
    until(page, f"{dark} !== '0,0,0,0'")
    until(
        page,
        "performance.getEntriesByType('resource').filter(e => /[.]png$/.test(e.name)).length === 1",
    )
    for _ in range(3):
        page.keyboard.press("+")
    until(
        page,
        "performance.getEntriesByType('resource').filter(e => /start=0&end=10[.]000/.test(e.name)).length === 1",
    )
    assert page.get_attribute("[data-do=spectrogram]", "aria-pressed") == "true"


# -- playing --------------------------------------------------------------------------------------------------------


def test_silence_is_skipped(page: Page, service: Running, long: str) -> None:
    enter(page, service, f"&player={long}")
    loaded(page)
    until(page, "!document.querySelector('[data-do=skip]').disabled")
    assert page.locator(".key.quiet b").inner_text() != "0"
    page.check("[data-do=skip]")
    page.evaluate(f"{NOW} = {QUIET[0]} - 0.2")
    page.click("[data-do=play]")
    until(page, f"{NOW} > {QUIET[0]} + 3")
    assert page.evaluate(NOW) > QUIET[1] - 2


def test_speed_volume_and_skipping_are_remembered(page: Page, service: Running, call: dict[str, Any]) -> None:
    enter(page, service, f"&player={call['callId']}")
    loaded(page)
    page.keyboard.press(">")
    page.keyboard.press(">")
    page.locator("[data-do=volume]").fill("40")
    page.keyboard.press("s")
    page.reload()
    loaded(page)
    audio = "(a => [a.playbackRate, a.preservesPitch, Math.round(a.volume * 100)])(document.querySelector('audio'))"
    assert page.evaluate(audio) == [1.5, True, 40]
    assert page.is_checked("[data-do=skip]")
    speeds = page.locator("[data-do=speed] option").evaluate_all("all => all.map(each => each.value)")
    assert (speeds[0], speeds[-1]) == ("0.5", "3")
    plays(page)
    assert page.evaluate("document.querySelector('audio').playbackRate") == 1.5
    metadata = page.evaluate("[navigator.mediaSession.metadata.title, navigator.mediaSession.playbackState]")
    assert metadata[0] == "Ana Pop → Front Desk"


def test_a_selection_is_dragged_looped_downloaded_and_shared(
    page: Page, service: Running, call: dict[str, Any]
) -> None:
    enter(page, service, f"&callDetails={call['callId']}")
    loaded(page)
    box = page.locator("canvas.wave").bounding_box()
    assert box is not None
    length = json.loads(ask(service, call["callId"], format="marks"))["duration"]
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 30)
    page.mouse.move(box["x"] + box["width"] * 0.35, box["y"] + 30)
    page.mouse.up()
    assert page.get_by_role("group", name="Selection").is_visible()
    assert page.evaluate(NOW) == 0, "a drag is no click"
    # Its right edge is taken further.
    page.mouse.move(box["x"] + box["width"] * 0.35 + 2, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 30)
    page.mouse.up()
    page.get_by_role("button", name="Copy link").click()
    link = page.input_value(".part input")
    assert link.startswith(f"{service.base}/CallRecorder/?callDetails={call['callId']}&start=")
    start, end = page.evaluate(PART)
    assert (start, end) == (pytest.approx(length * 0.25, abs=0.1), pytest.approx(length * 0.3, abs=0.1))
    assert violations(page) == []
    page.get_by_role("button", name="Loop").click()
    page.evaluate(
        "window.back = 0; document.querySelector('audio').addEventListener('seeked', () => { window.back++; })"
    )
    until(page, "window.back >= 2")
    assert page.evaluate(NOW) < end + 0.3
    page.keyboard.press("k")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download the selection as wav").click()
    with wave.open(str(waiting.value.path())) as audio:
        assert audio.getnframes() / audio.getframerate() == pytest.approx(end - start, abs=0.01)
    page.keyboard.press("c")
    assert not page.locator(".part").is_visible()

    page.goto(link)
    loaded(page)
    assert page.locator(".part .span").inner_text() == f"0:0{start:.3f}"[:6] + " – " + f"0:0{end:.3f}"[:6]
    assert page.evaluate(NOW) == pytest.approx(start, abs=0.01)
    page.keyboard.press("p")
    until(page, f"{NOW} > {start} + 0.1 && document.querySelector('audio').paused")
    assert page.evaluate(NOW) == pytest.approx(end, abs=0.1), "it stops at the end"


def test_a_link_outlasts_the_login_and_works_without_script(
    browser: Browser, service: Running, call: dict[str, Any]
) -> None:
    context = browser.new_context(base_url=service.base, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{HOME}?player={call['callId']}&start=3.5&end=7")
    page.fill("[name=user]", "admin")
    page.fill("[name=password]", service.password)
    page.locator("form button").first.click()
    assert str(page.get_attribute("audio", "src")).endswith("#t=3.5,7")
    page.goto(f"{HOME}?player={call['callId']}&start=seven")
    assert "#" not in str(page.get_attribute("audio", "src"))
    context.close()


def test_the_legs_have_levels(page: Page, service: Running, call: dict[str, Any]) -> None:
    page.add_init_script(
        "window.gains = []; const made = AudioContext.prototype.createGain;"
        "AudioContext.prototype.createGain = function () "
        "{ const g = made.call(this); window.gains.push(g); return g; };"
    )
    enter(page, service, f"&player={call['callId']}")
    loaded(page)
    page.get_by_role("slider", name="Level of Caller").fill("150")
    assert page.evaluate("gains.map(g => g.gain.value)") == [1.5, 1]
    page.keyboard.press("Escape")
    page.locator("canvas.wave").focus()
    page.keyboard.press("2")
    assert page.evaluate("gains.map(g => g.gain.value)") == [1.5, 0]
    assert not page.is_checked("[data-do=called]")


def test_call_details_are_printed_without_what_is_pressed(
    page: Page, service: Running, call: dict[str, Any]
) -> None:
    service.rows("UPDATE calls SET description = 'asked twice' WHERE uuid = %s", call["callId"])
    enter(page, service, f"&callDetails={call['callId']}")
    loaded(page)
    assert not page.locator("dd.printed").first.is_visible()
    page.emulate_media(media="print")
    service.rows("UPDATE calls SET description = '' WHERE uuid = %s", call["callId"])
    for shown in ("dd.printed", "canvas.wave", "#details-title", "dialog > dl dd"):
        assert page.locator(shown).first.is_visible(), shown
    for hidden in (
        "header.top",
        ".controls >> nth=0",
        "form.search",
        ".list",
        "footer",
        ".dialog form >> nth=0",
    ):
        assert not page.locator(hidden).first.is_visible(), hidden
    box = page.locator("dialog").bounding_box()
    assert box is not None
    assert (box["x"], box["width"]) == (0, DESKTOP["width"])


# -- frames ---------------------------------------------------------------------------------------------------------


def test_a_frame_tells_its_parent_and_obeys_it(
    browser: Browser, service: Running, call: dict[str, Any], tmp_path: Path
) -> None:
    with portal() as friend:
        settings = Settings(
            database_url=service.database_url, data_dir=str(tmp_path), frame_ancestors=(friend,)
        )
        with serving(create_app(settings)) as base:
            page = browser.new_context(viewport=DESKTOP).new_page()
            frame = framed(
                page,
                friend,
                f"{base}{HOME}?player={call['callId']}&user=admin&password={service.password}",
            )
            loaded(frame)
            page.evaluate(
                "window.said = []; addEventListener('message', (e) => said.push({ ...e.data, origin: e.origin }))"
            )

            def tell(message: dict[str, Any]) -> None:
                page.evaluate("(m) => frames[0].postMessage(m, '*')", message)

            tell({"callreplay": 1, "command": "seek", "time": 4.5})
            until(page, "said.length > 0")
            said = page.evaluate("said.at(-1)")
            assert said["origin"] == base
            assert (said["call"], said["state"], said["playing"]) == (call["callId"], "ready", False)
            assert said["time"] == pytest.approx(4.5)
            assert said["duration"] == pytest.approx(19.94, abs=0.1)
            tell({"callreplay": 1, "command": "play"})
            until(page, "said.some(each => each.event === 'time' && each.playing && each.time > 4.6)")
            tell({"callreplay": 1, "command": "pause"})
            until(page, "said.at(-1).event === 'pause'")
            # Nobody but the parent is listened to, and nothing that is not meant for the player.
            tell({"command": "play"})
            tell({"callreplay": 1, "command": "seek", "time": "1"})
            frame.evaluate("postMessage({ callreplay: 1, command: 'play' }, '*')")
            page.wait_for_timeout(200)
            assert frame.evaluate("document.querySelector('audio').paused")
            assert frame.evaluate(NOW) > 4.5
            page.context.close()


@pytest.fixture
def spoken(service: Running, long: str) -> Iterator[str]:
    """The long call with words kept: two lines of the caller's, one of the called party's between them."""
    said = [
        [1.0, 1.4, "guten", "caller", 0.9],
        [1.5, 1.9, "Tag", "caller", None],
        [2.2, 2.8, "<b>hallo</b>", "called", 0.5],
        [60.0, 60.5, "bitte", "caller", 0.5],
    ]
    service.rows(
        "INSERT INTO call_words (call_uuid, made_with, words, lexemes) VALUES (%s, 'test', %s, '')",
        long,
        json.dumps(said),
    )
    yield long
    service.rows("DELETE FROM call_words WHERE call_uuid = %s", long)


def test_a_word_of_the_transcript_plays_from_there(page: Page, service: Running, spoken: str) -> None:
    enter(page, service, f"&player={spoken}")
    loaded(page)
    lines = page.locator(".words li")
    lines.nth(2).wait_for()
    assert [" ".join(text.split()) for text in lines.all_inner_texts()] == [
        "0:01 guten Tag",
        "0:02 <b>hallo</b>",
        "1:00 bitte",
    ]
    assert [line.get_attribute("class") for line in lines.all()] == ["caller", "called", "caller"]
    page.click("text=bitte")
    until(page, f"{NOW} >= 60 && !document.querySelector('audio').paused")
    page.wait_for_selector(".words .said:has-text('bitte')")
    page.keyboard.press("Home")
    page.wait_for_selector(".words .said", state="detached")
    assert not violations(page)


def test_words_are_for_whoever_finds_the_call(service: Running, spoken: str, call: dict[str, Any]) -> None:
    def words(of: str) -> str:
        with service.logged_in() as client:
            found = re.search(r'data-words="([^"]*)"', client.get(HOME, params={"player": of}).text)
        assert found
        return found[1]

    assert words(call["callId"]) == ""
    place = words(spoken)
    with service.client() as stranger:
        assert stranger.get(place).json()[1] == [0, 1.5, 1.9, "Tag"]
        service.rows("DELETE FROM call_words WHERE call_uuid = %s", spoken)
        assert stranger.get(place).json() == []
        assert stranger.get(place.replace("/Temp/", "/Temp/x")).status_code == 404
    with service.basic() as client:
        answer = client.get("/CallRecorder/Transcoder", params={"callId": spoken, "format": "words"})
    assert answer.json()["parameter"] == "format"


@pytest.mark.parametrize(
    ("origin", "known"),
    [
        ("https://crm.example.com", True),
        ("https://crm.example.com:8443", False),
        ("http://crm.example.com", False),
        ("https://crm.example.com.evil.test", False),
        ("https://a.b.example.org", True),
        ("https://example.org", False),
        ("https://evil-example.org", False),
        ("null", False),
    ],
)
def test_which_origins_are_listened_to(page: Page, service: Running, origin: str, known: bool) -> None:
    page.goto("/CallRecorder/Login")
    answer = page.evaluate(
        "async ([origin]) => { const { allows } = await import('/CallRecorder/static/frame.js');"
        "return 'self https://crm.example.com https://*.example.org'.split(' ')"
        ".some((each) => allows(each, origin)); }",
        [origin],
    )
    assert answer is known


def test_scripts_are_small_and_ours_alone() -> None:
    scripts = list(STATIC.glob("*.js"))
    assert len(scripts) > 5
    assert sum(path.stat().st_size for path in scripts) < 150_000
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.startswith("import "):
                assert '"./' in line, "served by us"
