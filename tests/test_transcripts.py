"""Transcripts: what a recogniser is given, what is taken from it, and the files that are made of its words."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import resample_poly
from typer.testing import CliRunner

import callreplay
from callreplay.cli.app import build
from callreplay.errors import ArgumentError
from callreplay.outputs.captions import caption_format
from callreplay.transcripts import Utterance, Word, recogniser_of

SAMPLES = Path(__file__).resolve().parents[1] / "samples"


def test_a_recogniser_hears_each_speaker_and_its_words_get_the_call_s_times() -> None:
    call = callreplay.open(SAMPLES / "reservation.pcap")[0]
    heard: list[Utterance] = []

    def hear(said: Utterance) -> list[tuple[Any, ...]]:
        heard.append(said)
        return [(0.1, 0.4, f"w{len(heard)}"), (0.5, 99.0, " a\n b ", 1.7), (0.6, 0.7, " ")]

    transcript = call.transcribe(hear, 6.0)
    assert transcript.made_with.endswith("hear")
    whole = {side: call.mix(side, rate=16000, dtype="float32") for side in ("caller", "called")}
    for said in heard:
        assert (said.rate_hz, said.pcm.dtype.name) == (16000, "float32")
        first = round(said.start_s * 16000)
        assert np.array_equal(said.pcm, whole[said.speaker][first : first + len(said.pcm)])
        assert np.array_equal(said.int16(), (said.pcm * 32768).astype(np.int16))
    assert {said.speaker for said in heard} == {"caller", "called"}
    assert len(transcript.words) == 2 * len(heard)
    for number, said in enumerate(heard, 1):
        (word,) = [word for word in transcript.words if word.text == f"w{number}"]
        assert word == Word(
            round(said.start_s + 0.1, 3), round(said.start_s + 0.4, 3), f"w{number}", said.speaker
        )
        after = transcript.words[transcript.words.index(word) + 1 :]
        ab = next(word for word in after if word.text == "a b" and word.speaker == said.speaker)
        assert ab.confidence == 1.0
        assert ab.end_s == pytest.approx(said.start_s + said.duration_s, abs=1e-3)
    assert [word.start_s for word in transcript.words] == sorted(word.start_s for word in transcript.words)
    assert "w1" in transcript.text()


@pytest.mark.parametrize(
    "said", [None, (1, 2), ("a", "b", "c"), (0.0, float("nan"), "x"), (0, 1, 5), (0, 1, "x", 1, 2)]
)
def test_what_is_no_word_is_an_error_that_names_the_recogniser(said: Any) -> None:
    call = callreplay.open(SAMPLES / "reservation.pcap")[0]
    with pytest.raises(ArgumentError, match=r"wrong gave .* which is not"):
        call.transcribe(_wrong(said))


def _wrong(said: Any) -> Any:
    def wrong(_: Utterance) -> list[Any]:
        return [said]

    return wrong


WORDS = [
    Word(0.5, 0.9, "good", "called"),
    Word(1.0, 1.4, "morning", "called"),
    Word(1.1, 1.3, "a<b", "caller", 0.5),
    Word(5.0, 5.25, "bye", "called"),
]


def test_captions() -> None:
    names = {"called": "Front & Desk"}
    assert caption_format("vtt")(WORDS, names, {}) == (
        "WEBVTT\n"
        "\n00:00:00.500 --> 00:00:01.400\n<v Front &amp; Desk>good morning\n"
        "\n00:00:01.100 --> 00:00:01.300\n<v caller>a&lt;b\n"
        "\n00:00:05.000 --> 00:00:05.250\n<v Front &amp; Desk>bye\n"
    )
    assert caption_format("", "x.SRT")(WORDS, names, {}).startswith(
        "1\n00:00:00,500 --> 00:00:01,400\nFront & Desk: good morning\n\n2\n00:00:01,100"
    )
    told = json.loads(caption_format("json")(WORDS, names, {"start": "now"}))
    assert (told["start"], told["words"][2]["confidence"], len(told["words"])) == ("now", 0.5, 4)
    with pytest.raises(ArgumentError, match="vtt, srt, json"):
        caption_format("", "x.doc")


@pytest.mark.parametrize(
    "name", ["", "json", ":f", "json:", "no.such.module:f", "json:nothing", "json:__name__"]
)
def test_recognisers_that_are_none(name: str) -> None:
    with pytest.raises(ArgumentError):
        recogniser_of(name)


def test_the_command_writes_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_recogniser.py").write_text(
        "def hear(said):\n    yield 0, said.duration_s, said.speaker\n"
    )
    monkeypatch.chdir(tmp_path)
    app = build(["transcribe"])
    capture = str(SAMPLES / "reservation.pcap")
    done = CliRunner().invoke(app, ["transcribe", capture, "--with", "my_recogniser:hear", "-o", "x.srt"])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "x.srt").read_text()
    assert "Ana Pop <0721555010>: caller" in text
    assert "Front Desk <2001>: called" in text


SENTENCE = "The president of the company will talk about the problem on Monday morning."


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs espeak-ng")
def test_pocketsphinx_hears_what_espeak_says(tmp_path: Path) -> None:
    """The adapter of docs/transcripts.md, with the model that its wheel carries."""
    pytest.importorskip("pocketsphinx")
    import re
    import wave

    page = (Path(__file__).resolve().parents[1] / "docs" / "transcripts.md").read_text()
    blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", page, re.DOTALL)
    adapters = dict(blocks)
    assert {"with_pocketsphinx", "with_faster_whisper", "with_vosk"} <= set(adapters)
    for name, source in adapters.items():
        compile(source, name, "exec")
    space: dict[str, Any] = {}
    exec(adapters["with_pocketsphinx"], space)
    path = tmp_path / "say.wav"
    subprocess.run(["espeak-ng", "-v", "en-us+m1", "-w", path, SENTENCE], check=True)
    with wave.open(str(path)) as file:
        rate, pcm = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16)
    sound = (resample_poly(pcm.astype(float), 16000, rate) / 32768).clip(-1, 1).astype(np.float32)
    words = list(space["hear"](Utterance(sound, 16000, 0.0, "caller")))
    found = {text for _, _, text, *_ in words}
    assert {"monday", "morning"} <= found, words  # a voice of a machine, a model of people
    assert all(0 <= start <= end <= len(sound) / 16000 + 0.1 for start, end, *_ in words)


def test_importing_a_recogniser_leaves_the_path_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    recogniser_of("json:loads")
    assert sys.path == before
