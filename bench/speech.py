"""Voice activity: speech of espeak-ng with known labels, in noise, through mu-law; ours beside WebRTC's and Silero's.

Scores count 10 ms frames. Labels come from the speech before any noise: frames within 38 dB of its loud ones, pauses up
to 300 ms bridged; WebRTC's frames are bridged alike (its decisions come frame by frame; talk does not). The rows with a
ratio: WebRTC's CPU time over ours for the same audio, in this process. Silero's detector (extra vad) as
``leg.speech("silero")`` has it, where it is installed.
"""

from __future__ import annotations

import io
import subprocess
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, resample_poly

from callreplay.audio import silero
from callreplay.audio.speech import Detector, meter_of

RATE: Final = 8000
FRAME: Final = RATE // 100
BRIDGE: Final = 30
TEXTS: Final = (
    "Good morning, this is the front desk, how may I help you?",
    "Yes.",
    "I would like to change my reservation to Friday the seventh, if that is possible.",
    "Six six two, nine zero four.",
    "Thank you very much, have a nice day.",
    "Could you hold on for a second?",
    "Right, so the invoice was sent twice, and we only want to pay it once.",
    "No, sorry.",
    "Please spell your surname for me.",
)
VOICES: Final = ("en-gb", "en-us+f3", "de", "fr+f2", "es+m3", "ro")
NOISES: Final = (
    ("none", None), ("white", 30.0), ("white", 20.0), ("pink", 20.0), ("hum", 15.0), ("white", 10.0), ("pink", 10.0),
    ("pink", 5.0),
)  # fmt: skip
Frames = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """Audio before noise, and which of its frames are speech."""

    clean: NDArray[np.float64]
    speech: Frames


@dataclass(frozen=True)
class Score:
    """Shares of speech missed and of the rest taken for it, and the harmonic mean of precision and recall."""

    missed: float
    false: float
    f1: float


@dataclass(frozen=True)
class Row:
    """One kind of noise."""

    noise: str
    snr_db: float | None
    ours: Score
    webrtc: Score | None
    silero: Score | None


@cache
def spoken_wav(text: str, voice: str, speed: int) -> bytes:
    """What espeak-ng says, as WAV."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    out = io.BytesIO()  # with the length in its header, which a stream does not have
    with wave.open(io.BytesIO(data)) as read, wave.open(out, "wb") as write:
        write.setparams(read.getparams()._replace(nframes=0))
        write.writeframes(data[44:])
    return out.getvalue()


@cache
def _said(text: str, voice: str, speed: int) -> NDArray[np.float64]:
    with wave.open(io.BytesIO(spoken_wav(text, voice, speed))) as file:
        pcm, rate = np.frombuffer(file.readframes(1 << 30), "<i2").astype(float), file.getframerate()
    common = np.gcd(RATE, rate)
    return np.asarray(resample_poly(pcm, RATE // common, rate // common))


def bridged(on: Frames) -> Frames:
    """With pauses of up to 300 ms filled."""
    out = on.copy()
    for one, two in pairwise(np.flatnonzero(on)):
        if 1 < two - one <= BRIDGE:
            out[one:two] = True
    return out


def labelled(random: np.random.Generator, seconds: float) -> Case:
    """Utterances at different levels between pauses."""
    parts: list[NDArray[np.float64]] = []
    total = 0
    while total < seconds * RATE:
        pause = int(random.exponential(1.6) * RATE) + 2400
        text, voice = TEXTS[random.integers(len(TEXTS))], VOICES[random.integers(len(VOICES))]
        said = _said(text, voice, 140 + 30 * int(random.integers(3)))
        level = 32768 * 10 ** (random.uniform(-34, -20) / 20)
        parts += [np.zeros(pause), said / np.sqrt((said**2).mean()) * level]
        total += pause + len(said)
    clean = np.concatenate([*parts, np.zeros(RATE)])
    clean = clean[: len(clean) // FRAME * FRAME]
    level_db = 10 * np.log10((clean.reshape(-1, FRAME) ** 2).mean(1) + 1)
    return Case(clean, bridged(level_db > np.percentile(level_db[level_db > 20], 95) - 38))


def _noise(kind: str, count: int, random: np.random.Generator) -> NDArray[np.float64]:
    noise = random.normal(size=count)
    if kind == "pink":
        noise = np.asarray(lfilter([0.05, -0.096, 0.051, -0.0044], [1, -2.495, 2.017, -0.522], noise))
    elif kind == "hum":
        time_s = np.arange(count) / RATE
        mains = [np.sin(2 * np.pi * 50 * k * time_s + k) / k for k in range(1, 8)]
        noise = np.sum(mains, axis=0) + 0.1 * noise
    return np.asarray(noise / np.sqrt((noise**2).mean()))


def _through_ulaw(pcm: NDArray[np.float64]) -> NDArray[np.int16]:
    limited = np.clip(pcm, -32635, 32635)
    magnitude = np.abs(limited) + 132
    step = 2 ** (np.floor(np.log2(magnitude)) - 4)
    made = np.sign(limited) * ((np.floor(magnitude / step) + 0.5) * step - 132)
    return np.asarray(made.astype(np.int16))


def noisy(case: Case, kind: str, snr_db: float | None, random: np.random.Generator) -> NDArray[np.int16]:
    """What a line would carry: ``snr_db`` is the speech's level, where there is any, over the noise's."""
    if snr_db is None:
        return _through_ulaw(case.clean)
    spoken = case.clean.reshape(-1, FRAME)[case.speech]
    level = np.sqrt((spoken**2).mean()) * 10 ** (-snr_db / 20)
    return _through_ulaw(case.clean + _noise(kind, len(case.clean), random) * level)


def ours(pcm: NDArray[np.int16], detector: Detector = "native") -> Frames:
    """Frames in which our detector hears talk, or Silero's."""
    meter = meter_of(detector, RATE)
    meter.write(pcm)
    on = np.zeros(len(pcm) // FRAME, bool)
    for talk in meter.result():
        on[int(talk.start_s * 100) : round(talk.end_s * 100)] = True
    return on


def webrtc(mode: int) -> Callable[[NDArray[np.int16]], Frames] | None:
    """WebRTC's detector; None where it is not installed (webrtcvad-wheels)."""
    try:
        import webrtcvad
    except ImportError:
        return None

    def run(pcm: NDArray[np.int16]) -> Frames:
        detector, octets = webrtcvad.Vad(mode), pcm.tobytes()
        count, size = len(pcm) // FRAME, 2 * FRAME
        return np.array([detector.is_speech(octets[i * size : (i + 1) * size], RATE) for i in range(count)])

    return run


def score(on: Frames, speech: Frames) -> Score:
    """Compare frames with labels."""
    hit, false, missed = (on & speech).sum(), (on & ~speech).sum(), (~on & speech).sum()
    return Score(
        float(missed / max(speech.sum(), 1)),
        float(false / max((~speech).sum(), 1)),
        float(2 * hit / max(2 * hit + false + missed, 1)),
    )


def scores(seed: int = 2026, seconds: float = 90.0, mode: int = 3) -> list[Row]:
    """Every kind of noise, each with speech of its own. WebRTC's mode 3 is its best here."""
    random = np.random.default_rng(seed)
    rival = webrtc(mode)
    found = []
    for kind, snr_db in NOISES:
        case = labelled(random, seconds)
        pcm = noisy(case, kind, snr_db, random)
        theirs = score(bridged(rival(pcm)), case.speech) if rival else None
        network = score(ours(pcm, "silero"), case.speech) if silero.available() else None
        found.append(Row(kind, snr_db, score(ours(pcm), case.speech), theirs, network))
    return found


def rows() -> list[dict[str, Any]]:
    """Scores, and CPU time."""
    table: list[dict[str, Any]] = []
    for row in scores():
        line: dict[str, Any] = {"name": row.noise + (f" {row.snr_db:g} dB" if row.snr_db is not None else "")}
        for who, found in (("ours", row.ours), ("webrtc", row.webrtc), ("silero", row.silero)):
            if found:
                line |= {f"{who}_missed": found.missed, f"{who}_false": found.false, f"{who}_f1": found.f1}
        table.append(line)
    rival = webrtc(3)
    pcm = np.tile(noisy(labelled(np.random.default_rng(1), 60), "white", 20.0, np.random.default_rng(1)), 10)
    took = []
    for run in (ours, rival):
        begin = time.process_time()
        if run:
            run(pcm)
        took.append(time.process_time() - begin)
    if silero.available():
        begin = time.process_time()
        ours(pcm[: 60 * RATE], "silero")
        spent = (time.process_time() - begin) / 60
        table.append({"name": "CPU time, Silero's over ours", "ratio": spent / (took[0] / len(pcm) * RATE)})
    line = {"name": "CPU time, WebRTC's over ours", "times_real_time": len(pcm) / RATE / took[0]}
    table.append({**line, "ratio": took[1] / took[0], "bar": 1.0} if rival else line)
    return table
