"""The whole way as a user goes it: capture, ``callreplay import``, the running service, a wav whose words are right."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pocketsphinx import Decoder
from samples import make
from scipy.signal import correlate, resample_poly

from tests import programs
from tests.captures import pcap

from .conftest import Running

SCENE = make.Scene(
    "walk",
    1_767_800_000_000_000_000,
    "G722",
    make.Party("0721555777", "Press Room", "192.0.2.71", 30000, "en-us+m1", 0x0A0B0C0D),
    make.Party("2007", "Help Desk", "192.0.2.72", 30002, "en-us", 0x0D0C0B0A),
    [
        (0, "The president of the company will talk about the problem on Monday morning."),
        (1, "What seems to be the trouble? I hear it too. We will look at the network."),
    ],
    seed=5,
)
SAID = [
    *("president", "company", "will", "talk", "about", "problem", "monday", "morning"),
    *("trouble", "we", "will", "look", "network"),
]
"""Of both sentences, what a recogniser made for people hears in voices made by a machine; in this order."""

Samples = NDArray[np.float64]


@dataclass
class Walk:
    """A service with the scene's call in it."""

    service: Running
    call: dict[str, object]


@pytest.fixture(scope="module")
def walk(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    capture = tmp_path_factory.mktemp("walk") / "walk.pcap"
    capture.write_bytes(pcap(make.records(SCENE)))
    words = ["import", capture, "--json", "--database", service.database_url]
    done = programs.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    call = json.loads(done.stdout)
    yield Walk(service, call)
    service.rows("DELETE FROM calls WHERE uuid = %s", call["callId"])


def fetch(service: Running, **parameters: str) -> tuple[Samples, int]:
    """The wav that the Transcoder leads to, ``(n, channels)``, and its rate."""
    asked = {"callerNumber": SCENE.caller.number, "format": "wav", **parameters}
    with service.basic() as client:
        answer = client.get("/CallRecorder/Transcoder", params=asked)
    assert answer.status_code == 302, answer.text
    content = httpx.get(service.base + answer.headers["location"]).content
    with wave.open(io.BytesIO(content)) as audio:
        frames = np.frombuffer(audio.readframes(audio.getnframes()), "<i2")
        return frames.reshape(-1, audio.getnchannels()).astype(np.float64), audio.getframerate()


def heard(samples: Samples, rate: int) -> list[str]:
    decoder = Decoder(samprate=16000, loglevel="FATAL")
    pcm = np.clip(resample_poly(samples, 16000, rate), -32768, 32767).astype("<i2")
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr.split() if found else []


def likeness(one: Samples, other: Samples) -> float:
    """The best normalised correlation over all shifts."""
    product = correlate(one, other, method="fft")
    return float(np.abs(product).max() / (np.linalg.norm(one) * np.linalg.norm(other)))


def in_order(words: list[str], wanted: list[str]) -> bool:
    rest = iter(words)
    return all(word in rest for word in wanted)


def test_the_words_are_right(walk: Walk) -> None:
    samples, rate = fetch(walk.service)
    assert samples.shape[1] == 1
    words = heard(samples[:, 0], rate)
    assert in_order(words, SAID), words


def test_each_party_is_its_own_speech(walk: Walk) -> None:
    samples, rate = fetch(walk.service, channels="stereo")
    spoken = [np.frombuffer(pcm, "<i2").astype(np.float64) for pcm in make.dialogue(SCENE)[0]]
    assert rate == 16000
    scores = [[likeness(samples[:, channel], voice) for voice in spoken] for channel in (0, 1)]
    assert min(scores[0][0], scores[1][1]) > 0.95, scores
    assert max(scores[0][1], scores[1][0]) < 0.3, scores


def test_the_import_told_of_the_same_call(walk: Walk) -> None:
    assert (walk.call["added"], walk.call["callerNumber"], walk.call["calledName"]) == (
        True, SCENE.caller.number, "Help Desk",
    )  # fmt: skip
    with walk.service.basic() as client:
        asked = {"callerNumber": SCENE.caller.number, "format": "json"}
        (found,) = client.get("/CallRecorder/Transcoder", params=asked).json()
    assert found["callId"] == walk.call["callId"]
