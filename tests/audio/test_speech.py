"""The voice-activity detector: laws, labelled speech, and what two parties' talk adds up to."""

import io
import json
import shutil
import subprocess
import wave
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import programs

import callreplay
from bench import speech as bench
from callreplay.audio.speech import SpeechMeter, Talk, conversation
from callreplay.errors import ArgumentError
from callreplay.outputs.labels import Label, label_format

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def _spoken(pcm: NDArray[np.int16], rate_hz: int = 8000, block: int = 1 << 20) -> list[Talk]:
    meter = SpeechMeter(rate_hz)
    for start in range(0, len(pcm), block):
        meter.write(pcm[start : start + block])
    return meter.result()


def _bursts(rate_hz: int = 8000) -> NDArray[np.int16]:
    """Noise whose level goes up and down as syllables do, in two stretches: 1 to 2.5 s and 4 to 5 s."""
    time_s = np.arange(7 * rate_hz) / rate_hz
    level = np.where((time_s >= 1) & (time_s < 2.5) | (time_s >= 4) & (time_s < 5), 1.0, 0.0)
    level *= 0.6 + 0.4 * np.sin(2 * np.pi * 5 * time_s)
    noise = np.random.default_rng(3).normal(size=len(time_s))
    if rate_hz > 8000:  # as much below 4 kHz as at 8000 Hz
        noise *= np.sqrt(rate_hz / 8000)
    return np.clip(noise * level * 3000, -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 44100, 48000])
def test_stretches_are_found_at_every_rate(rate_hz: int) -> None:
    pcm = _bursts(rate_hz)
    found = _spoken(pcm, rate_hz)
    assert [(round(t.start_s, 1), round(t.end_s, 1)) for t in found] == [(1.0, 2.5), (4.0, 5.0)]
    for talk in found:
        heard = pcm[round(talk.start_s * rate_hz) : round(talk.end_s * rate_hz)].astype(float)
        assert talk.level_dbfs == pytest.approx(10 * np.log10((heard**2).mean() / 32768**2), abs=0.06)


@pytest.mark.parametrize("block", [1, 7, 79, 80, 81, 160, 1000, 8000])
def test_where_blocks_are_cut_changes_nothing(block: int) -> None:
    pcm = _bursts()[: 3 * 8000]
    assert _spoken(pcm, block=block) == _spoken(pcm)


@pytest.mark.parametrize("gain", [0, 3, 100, 3000])
def test_noise_that_does_not_change_is_no_talk(gain: float) -> None:
    noise = np.random.default_rng(5).normal(size=10 * 8000) * gain
    assert _spoken(np.clip(noise, -32768, 32767).astype(np.int16)) == []


@pytest.mark.parametrize("hz", [350, 425, 440, 1000, 1400])
@pytest.mark.parametrize("on_s", [0.2, 1.0, 8.0])
def test_tones_are_no_talk(hz: float, on_s: float) -> None:
    time_s = np.arange(20 * 8000) / 8000
    tone = 8000 * np.sin(2 * np.pi * hz * time_s) * (time_s % (on_s + 2) < on_s)
    assert _spoken(tone.astype(np.int16)) == []


def test_clicks_are_no_talk_and_silence_gives_nothing() -> None:
    clicks = np.zeros(8000 * 5, np.int16)
    clicks[8000:8080] = 20000
    clicks[20000:20300] = -15000
    assert _spoken(clicks) == []
    assert _spoken(np.zeros(0, np.int16)) == []


def test_talk_to_the_last_sample_ends_there() -> None:
    pcm = _bursts()[: int(2.2 * 8000) + 13]
    (talk,) = _spoken(pcm)
    assert talk.end_s == pytest.approx(2.2, abs=0.03)
    assert talk.end_s <= len(pcm) / 8000


def test_segments_are_in_order_and_apart() -> None:
    """Of ten minutes of random levels: whatever comes, the list is one of stretches in order."""
    random = np.random.default_rng(9)
    level = np.repeat(random.choice([0, 30, 300, 3000, 15000], 6000), 800)
    pcm = np.clip(random.normal(size=len(level)) * level, -32768, 32767).astype(np.int16)
    found = _spoken(pcm)
    assert found
    assert all(one.end_s <= two.start_s for one, two in pairwise(found))
    assert all(0 <= talk.start_s < talk.end_s <= len(pcm) / 8000 for talk in found)


def test_wrong_arguments_are_refused() -> None:
    for rate_hz in (0, 7999, 48001):
        with pytest.raises(ArgumentError, match="rate_hz"):
            SpeechMeter(rate_hz)
    meter = SpeechMeter(8000)
    wrong: Any
    for wrong in (np.zeros(10, np.float32), np.zeros((10, 2), np.int16)):
        with pytest.raises(ArgumentError, match="int16"):
            meter.write(wrong)
    meter.result()
    with pytest.raises(RuntimeError, match="finished"):
        meter.write(np.zeros(10, np.int16))


needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs espeak-ng")


@needs_espeak
@pytest.mark.slow
def test_labelled_speech_in_noise_is_found_as_well_as_webrtc_finds_it() -> None:
    """Bars well below what docs/speech.md shows: F1 of 10 ms frames, and of WebRTC's detector on the same audio."""
    scores = bench.scores(seed=11, seconds=30)
    for row in scores:
        bar = 0.75 if row.snr_db is not None and row.snr_db <= 5 else 0.88
        assert row.ours.f1 >= bar, row
    rivals = [row.webrtc.f1 for row in scores if row.webrtc is not None]
    if rivals:
        ours = [row.ours.f1 for row in scores if row.webrtc is not None]
        assert np.mean(ours) >= np.mean(rivals) - 0.02


@needs_espeak
def test_a_call_s_talk_is_where_it_was_said() -> None:
    with callreplay.open(SAMPLES / "reservation.pcap") as capture:
        call = capture[0]
    for leg in call.legs:
        pcm = leg.pcm(timeline=True).astype(float)
        loud = np.sqrt((pcm[: len(pcm) // 800 * 800].reshape(-1, 800) ** 2).mean(1)) > 300
        talking = np.zeros(len(loud), bool)
        for talk in leg.speech():
            talking[int(talk.start_s * 10) : int(talk.end_s * 10) + 1] = True
        assert (talking & loud).sum() > 0.9 * loud.sum()
    report = call.report()
    assert report["speech"]["caller"]["talk_s"] == pytest.approx(
        sum(t.duration_s for t in call.caller.speech()), abs=0.01
    )
    assert [talk["start_s"] for talk in report["legs"][1]["talk"]] == [
        t.start_s for t in call.called.speech()
    ]
    assert "speech" not in call.report(audio=False)


def _talk(*stretches: tuple[float, float]) -> list[Talk]:
    return [Talk(start, end, -20.0) for start, end in stretches]


def test_a_conversation_adds_up() -> None:
    caller = _talk((0.0, 4.0), (4.5, 6.0), (10.0, 12.0))
    called = _talk((5.5, 9.0), (10.2, 10.4), (12.5, 20.0))
    made = conversation(caller, called, 25.0)
    assert (made.talk_s, made.overlap_s, made.silence_s) == (18.0, 0.7, 7.0)
    assert (made.caller.talk_s, made.called.talk_s) == (7.5, 11.2)
    assert made.caller.share + made.called.share == pytest.approx(1)
    # 0 to 6 with a short pause; the answer within 10 to 12 does not part it.
    assert (made.caller.longest_monologue_s, made.called.longest_monologue_s) == (6.0, 7.5)
    # At 5.5 the caller had talked for a second, and went on for half of one; at 10.2 it had not.
    assert (made.caller.interruptions, made.called.interruptions) == (0, 1)


def test_an_answer_in_a_pause_parts_a_monologue() -> None:
    made = conversation(_talk((0, 3), (3.8, 6)), _talk((3.2, 3.6)), 6)
    assert made.caller.longest_monologue_s == 3
    assert conversation(_talk((0, 3), (3.8, 6)), [], 6).caller.longest_monologue_s == 6


def test_nobody_talks() -> None:
    made = conversation([], [], 5.0)
    assert (made.talk_s, made.silence_s, made.caller.share) == (0, 5, 0)


def test_overlaps_agree_with_counting_milliseconds() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        parties = []
        for _ in range(2):
            edges = np.sort(random.choice(3000, 20, replace=False)) / 100
            parties.append(_talk(*zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)))
        grid = [np.zeros(3000, bool), np.zeros(3000, bool)]
        for party, on in zip(parties, grid, strict=True):
            for talk in party:
                on[round(talk.start_s * 100) : round(talk.end_s * 100)] = True
        made = conversation(parties[0], parties[1], 30.0)
        assert made.overlap_s == pytest.approx((grid[0] & grid[1]).sum() / 100, abs=0.002)
        assert made.talk_s == pytest.approx((grid[0] | grid[1]).sum() / 100, abs=0.002)


LABELS = [Label(0.5, 61.25, "caller", 1, "Ana <1>", -20.0), Label(3661.0, 3661.5, "called", 2, "", None)]


def test_formats_of_labels() -> None:
    assert label_format("rttm")(LABELS, {"file": "a b"}) == (
        "SPEAKER a_b 1 0.500 60.750 <NA> <NA> caller <NA> <NA>\n"
        "SPEAKER a_b 2 3661.000 0.500 <NA> <NA> called <NA> <NA>\n"
    )
    assert (
        label_format(path="x.TXT")(LABELS, {})
        == "0.500000\t61.250000\tAna <1>\n3661.000000\t3661.500000\tcalled\n"
    )
    assert label_format("vtt")(LABELS, {}) == (
        "WEBVTT\n\n00:00:00.500 --> 00:01:01.250\n<v Ana &lt;1&gt;>(caller)\n"
        "\n01:01:01.000 --> 01:01:01.500\n<v called>(called)\n"
    )
    assert [t["speaker"] for t in json.loads(label_format("json")(LABELS, {"x": 1}))["talk"]] == [
        "caller",
        "called",
    ]
    with pytest.raises(ArgumentError, match="rttm, audacity, vtt, json"):
        label_format("srt")
    with pytest.raises(ArgumentError, match=r"suffix '\.wav'"):
        label_format(path="x.wav")


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return programs.run(["speech", *arguments], capture_output=True, text=True)


def test_the_command(tmp_path: Path) -> None:
    capture = SAMPLES / "reservation.pcap"
    assert _run(capture, "-o", tmp_path / "x.rttm").returncode == 0
    lines = (tmp_path / "x.rttm").read_text().splitlines()
    call = callreplay.open(capture)[0]
    assert len(lines) == sum(len(leg.speech()) for leg in call.legs)
    assert all(line.split()[:2] == ["SPEAKER", "reservation"] for line in lines)
    starts = [float(line.split()[3]) for line in lines]
    assert starts == sorted(starts)
    shown = _run(capture)
    assert "interruptions" in shown.stdout
    assert "both at once" in shown.stdout
    printed = json.loads(_run(capture, "--format", "json").stdout)
    assert printed["speech"]["called"]["talk_s"] == call.speech().called.talk_s
    wrong = _run(capture, "-o", tmp_path / "x.wav")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "x.wav").exists()


@pytest.mark.skipif(not shutil.which("ffprobe"), reason="needs ffprobe")
def test_webvtt_is_what_ffmpeg_reads(tmp_path: Path) -> None:
    assert _run(SAMPLES / "reservation.pcap", "-o", tmp_path / "x.vtt").returncode == 0
    command = ["ffprobe", "-v", "error", "-show_packets", "-of", "json", str(tmp_path / "x.vtt")]
    packets = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["packets"]
    call = callreplay.open(SAMPLES / "reservation.pcap")[0]
    wanted = sorted(talk.start_s for leg in call.legs for talk in leg.speech())
    assert [float(packet["pts_time"]) for packet in packets] == pytest.approx(wanted, abs=0.001)


def test_wav_of_the_bench_is_what_it_says() -> None:
    """The labelled speech that scores rest on: where nothing is labelled, nothing is said."""
    if not shutil.which("espeak-ng"):
        pytest.skip("needs espeak-ng")
    case = bench.labelled(np.random.default_rng(1), 10.0)
    frames = case.clean[: len(case.speech) * 80].reshape(-1, 80)
    assert np.abs(frames[~case.speech]).max() < np.abs(frames[case.speech]).max() / 30
    with wave.open(io.BytesIO(bench.spoken_wav("Yes.", "en-gb", 140))) as file:
        assert file.getnframes() > 1000
