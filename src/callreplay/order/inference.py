"""Careful inference of a codec from many packets: sizes, timestamp steps, arrival, and what the octets look like.

Every rule needs agreement over many packets and a physical check, and each reading that the packets allow is heard:
the one that is most like speech is taken, its rivals are named. When the evidence is thin or fits two codecs the answer
is None with the reason, because wrong audio is worse than none (traps 7 and 21).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from callreplay.codecs import BY_NAME, Codec
from callreplay.deferred import dataclass
from callreplay.order.packings import amr_share
from callreplay.order.sample import Sample
from callreplay.order.speechlike import ROUGH, evenly_spread, reading_roughness

__all__ = ["FEWEST_PACKETS", "Guess", "Sample", "clock_hz", "infer", "is_event"]

FEWEST_PACKETS: Final = 16
_AGREE: Final = 0.9
_CLEARLY: Final = 0.8  # smoother by so much than a rival is another thing
_CLOCKS_HZ: Final = (8000, 16000, 48000, 90000, 44100, 32000, 24000, 22050, 12000, 11025)


@dataclass(frozen=True, slots=True)
class Guess:
    """What packets speak for: a codec or None, why, and the other codecs that they do not rule out."""

    codec: Codec | None
    reason: str
    rivals: tuple[str, ...] = ()


def infer(sample: Sample) -> Guess:
    """The codec the packets speak for, or None; the reason in words, and its rivals."""
    if len(sample.size) and is_event(sample):
        return Guess(BY_NAME["TELEPHONE-EVENT"], "4-octet payloads that count up at a standing timestamp")
    if len(sample.size) < FEWEST_PACKETS:
        return Guess(None, f"only {len(sample.size)} packets")
    steps, sizes = sample.steps()
    if len(steps) < FEWEST_PACKETS - 1:
        return Guess(None, "too few packets follow one another")
    rivals: tuple[str, ...] = ()
    for rule in (_opus, _amr, _framed, _waveform):
        guess = rule(sample, steps, sizes)
        if guess.codec is not None:
            return guess
        if guess.reason:
            return Guess(None, guess.reason, guess.rivals)
        rivals += guess.rivals
    usual = f"usual: {_mode(sizes)} octets, {_mode(steps)} ticks"
    return Guess(None, f"sizes and timestamp steps fit no codec ({usual})", rivals)


def clock_hz(sample: Sample) -> int:
    """Ticks a second of timestamps by arrival, the usual rate that is within a tenth of it; 0 where nothing tells."""
    if len(sample.size) < FEWEST_PACKETS:
        return 0
    rate = _rate_hz(sample)
    near = min(_CLOCKS_HZ, key=lambda known: abs(known / rate - 1)) if rate > 0 else 0
    if near and abs(near / rate - 1) <= 0.1:
        return near
    return round(rate) if 1000 <= rate <= 384_000 else 0


_NOTHING: Final = Guess(None, "")


def _mode(values: NDArray[np.int64]) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def is_event(sample: Sample) -> bool:
    """RFC 4733: 4 octets, known event, R bit clear, duration not falling while the timestamp stands."""
    if not bool(np.all(sample.size == 4)) or len(sample.payloads) < 3:
        return False
    octets = np.frombuffer(b"".join(sample.payloads), np.uint8).reshape(-1, 4).astype(np.int64)
    duration = octets[:, 2] * 256 + octets[:, 3]
    if np.any(octets[:, 0] > 16) or np.any(octets[:, 1] & 0x40):
        return False
    same = np.diff(sample.timestamp[: len(octets)]) == 0
    rising = np.diff(duration)[same] >= 0
    return bool(same.sum() >= len(same) / 2 and rising.mean() >= _AGREE if same.any() else False)


def _rate_hz(sample: Sample) -> float:
    """Ticks per second of arrival over the sample (the median slope of its thirds, jitter-proof enough for a ratio)."""
    third = len(sample.size) // 3
    ticks = (sample.timestamp[2 * third :] - sample.timestamp[: len(sample.size) - 2 * third]) & 0xFFFFFFFF
    seconds = (sample.arrival_ns[2 * third :] - sample.arrival_ns[: len(sample.size) - 2 * third]) * 1e-9
    usable = seconds > 0
    return float(np.median(ticks[usable] / seconds[usable])) if usable.any() else 0.0


def _opus(sample: Sample, steps: NDArray[np.int64], sizes: NDArray[np.int64]) -> Guess:
    """RFC 7587: the clock is always 48000; frames of 2.5 to 120 ms; sizes vary, TOC configuration mostly stands."""
    if not 43_000 < _rate_hz(sample) < 53_000:
        return _NOTHING
    lawful = np.isin(steps, np.array([120, 240, 480, 960, 1920, 2880, 3840, 4800, 5760]))
    tocs = np.array([payload[0] >> 3 for payload in sample.payloads if payload], np.int64)
    if lawful.mean() < _AGREE or len(np.unique(sizes)) < 3 or not len(tocs):
        return _NOTHING
    if (tocs == _mode(tocs)).mean() < 0.6:
        return _NOTHING
    return Guess(BY_NAME["OPUS"], "ticks at 48000 with Opus frame lengths and varying sizes")


def _framed(sample: Sample, steps: NDArray[np.int64], sizes: NDArray[np.int64]) -> Guess:
    """Codecs of fixed frames: the size alone gives the ticks, and the timestamps must agree."""
    if not 6_000 < _rate_hz(sample) < 10_500:
        return _NOTHING
    whole = (sizes % 10 == 0) | (sizes % 10 == 2)
    ticks = (sizes // 10 + (sizes % 10 == 2)) * 80
    if (whole & (ticks == steps) & (sizes >= 10)).mean() >= _AGREE and np.median(sizes) <= 60:
        return Guess(BY_NAME["G729"], "10 octets every 80 ticks")
    heads = np.array([payload[0] for payload in sample.payloads if payload], np.int64)
    if (sizes % 33 == 0).mean() >= _AGREE and (steps == sizes // 33 * 160).mean() >= _AGREE:
        if ((heads >> 4) == 0xD).mean() >= _AGREE:
            return Guess(BY_NAME["GSM"], "33 octets every 160 ticks, each with the GSM magic")
        return _NOTHING
    for octets, frame in ((38, 160), (50, 240)):
        if ((sizes % octets == 0) & (steps == sizes // octets * frame)).mean() >= _AGREE:
            rivals = ("SPEEX",) if octets == 38 else ()
            return Guess(BY_NAME["ILBC"], f"{octets} octets every {frame} ticks", rivals)
    expected = (
        np.array([24, 20, 4, 1])[heads & 3] if len(heads) == len(sample.size) else np.zeros(0, np.int64)
    )
    if len(expected) and (expected == sample.size).mean() >= _AGREE and (steps == 240).mean() >= _AGREE:
        return Guess(BY_NAME["G723"], "24, 20 or 4 octets, as their first bits say, every 240 ticks")
    return _NOTHING


def _amr(sample: Sample, steps: NDArray[np.int64], sizes: NDArray[np.int64]) -> Guess:
    """AMR or AMR-WB in either packing: frame types, lengths, padding, and as many frames as the step is long."""
    rate = _rate_hz(sample)
    wide = 13_000 < rate < 20_000
    if not wide and not 6_000 < rate < 10_500:
        return _NOTHING
    frame = 320 if wide else 160
    if (steps % frame == 0).mean() < 0.6 or np.median(sizes) > 62 * max(1, _mode(steps) // frame):
        return _NOTHING
    codec = BY_NAME["AMR-WB" if wide else "AMR"]
    frames = max(1, _mode(steps) // frame)
    shares = {
        packing: amr_share(sample.payloads, wide=wide, aligned=packing == "octet-align=1", frames=frames)
        for packing in ("octet-align=0", "octet-align=1")
    }
    fitting = [packing for packing, share in shares.items() if share >= _AGREE]
    if len(fitting) == 2:
        return Guess(None, f"{codec} in either packing fits", tuple(f"{codec};{text}" for text in fitting))
    if not fitting:
        return _NOTHING
    found = Codec(codec.name, codec.clock_rate_hz, codec.sample_rate_hz, fmtp=fitting[0])
    return Guess(found, f"frame types and lengths are those of {codec} with {fitting[0]}")


_READINGS: Final = (("PCMU", 1), ("PCMA", 1), ("L16", 1), ("PCMU", 2), ("PCMA", 2), ("L16", 2))


def _waveform(sample: Sample, steps: NDArray[np.int64], sizes: NDArray[np.int64]) -> Guess:
    """PCMU, PCMA or L16, of one channel or two, or G.722: what the octets a tick allow, by which is like speech."""
    rate = _rate_hz(sample)
    known = min((8000, 16000, 32000, 44100, 48000), key=lambda clock: abs(clock - rate))
    if abs(rate / known - 1) > 0.3:
        return _NOTHING
    if (steps == 2 * sizes).mean() >= _AGREE and known == 16000:
        if evenly_spread(sample.payloads):
            return Guess(None, "its octets are spread as evenly as only encryption leaves them", ("G722",))
        return Guess(BY_NAME["G722"], "one octet every two ticks of 16000, as some G.722 senders count")
    heard = []
    for name, channels in _READINGS:
        octets = channels * (2 if name == "L16" else 1)
        if (octets * steps == sizes).mean() < _AGREE or (name != "L16" and known not in (8000, 16000)):
            continue
        if name == "L16" and abs(rate / known - 1) > 0.1:
            continue
        rough = reading_roughness(name, sample.payloads, channels)
        heard.append((rough, Codec(name, known, known, channels)))
    if not heard:
        return _NOTHING
    heard.sort(key=lambda pair: pair[0])
    names = [str(codec) for _, codec in heard]
    if (sizes == steps).mean() >= _AGREE and known == 8000:
        names.append("G722/8000")
    # L16 that is read wrongly is noise at full scale, and codes of G.711 in pairs look smooth as L16: never beside one.
    if any(rough <= ROUGH for rough, codec in heard if codec.name != "L16"):
        heard = [(rough, codec) for rough, codec in heard if codec.name != "L16"]
    (rough, best), *others = heard
    if rough > ROUGH or evenly_spread(sample.payloads):
        return Guess(None, "no reading of its octets is like speech", tuple(names))
    if any(rough > _CLEARLY * other for other, _ in others):
        return Guess(None, "two readings of its octets are as like speech", tuple(names))
    each = " of each of two channels" if best.channels == 2 else ""
    octets = best.channels * (2 if best.name == "L16" else 1)
    count = {1: "one octet", 2: "two octets", 4: "four octets"}[octets]
    reason = f"{count} a tick, and smooth as {best.name}{each} only"
    return Guess(best, reason, tuple(name for name in names if name != str(best)))
