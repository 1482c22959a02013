"""What was said in a stored call, by ``format=vtt`` and ``format=srt`` of the Transcoder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

    from .conftest import Running

pytestmark = pytest.mark.database
TRANSCODER = "/CallRecorder/Transcoder"
WORDS = [[1.0, 1.5, "good <morning>", "caller", 0.5], [2.0, 2.5, "hello", "called", None]]


@pytest.fixture
def spoken(service: Running, call: dict[str, Any]) -> Iterator[str]:
    """A call whose words are kept, as ``keep_words`` writes them."""
    service.rows(
        "INSERT INTO call_words (call_uuid, made_with, words, lexemes) VALUES (%s, 'm:f', %s::jsonb, '')",
        call["callId"],
        json.dumps(WORDS),
    )
    yield call["callId"]
    service.rows("DELETE FROM call_words WHERE call_uuid = %s", call["callId"])


def _ask(service: Running, call: str, **asked: str) -> httpx.Response:
    with service.basic() as client:
        return client.get(TRANSCODER, params={"callId": call, **asked}, follow_redirects=True)


def test_words_come_as_captions(service: Running, spoken: str, call: dict[str, Any]) -> None:
    answer = _ask(service, spoken, format="vtt")
    assert answer.headers["content-type"].startswith("text/vtt")
    assert answer.url.path.endswith(".vtt")
    names = [call["callerName"] or call["callerNumber"], call["calledName"] or call["calledNumber"]]
    assert answer.text == (
        f"WEBVTT\n\n00:00:01.000 --> 00:00:01.500\n<v {names[0]}>good &lt;morning&gt;\n"
        f"\n00:00:02.000 --> 00:00:02.500\n<v {names[1]}>hello\n"
    )
    subtitles = _ask(service, spoken, format="srt")
    assert subtitles.text.startswith(f"1\n00:00:01,000 --> 00:00:01,500\n{names[0]}: good <morning>\n")


def test_a_window_has_what_is_heard_in_it_timed_from_its_start(service: Running, spoken: str) -> None:
    text = _ask(service, spoken, format="srt", start="1.75", end="3").text
    assert text.startswith("1\n00:00:00,250 --> 00:00:00,750\n")
    assert "morning" not in text
    assert _ask(service, spoken, format="vtt", start="9", end="10").text == "WEBVTT\n"


def test_other_words_are_other_captions(service: Running, spoken: str) -> None:
    assert "hello" in _ask(service, spoken, format="vtt").text
    service.rows(
        'UPDATE call_words SET words = \'[[0, 1, "bye", "caller", 1]]\' WHERE call_uuid = %s', spoken
    )
    text = _ask(service, spoken, format="vtt").text
    assert "bye" in text
    assert "hello" not in text


def test_a_call_without_words_says_so(service: Running, call: dict[str, Any]) -> None:
    answer = _ask(service, call["callId"], format="vtt")
    assert answer.status_code == 404
    assert "The call has no words." in answer.text
