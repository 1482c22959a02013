"""Each codec beyond the engine's own: encoded by its encoder, packed as its RFC says, decoded, compared."""

import shutil
import struct
import subprocess
import tracemalloc
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.captures import pcap, rtp, sdp, sip, udp

import callreplay
from callreplay.audio import external
from callreplay.audio.external import decode_spans
from callreplay.audio.mix import Renderer
from callreplay.audio.pyav import RECIPES, decode_payloads, is_external, stream_payloads
from callreplay.codecs import Codec, parse_rtpmap
from callreplay.errors import UnsupportedError
from callreplay.model import GapReason

av = pytest.importorskip("av")

SECONDS = 2


def _voice(rate: int) -> NDArray[np.int16]:
    """Something codecs like: a gliding harmonic sound with pauses."""
    t = np.arange(SECONDS * rate) / rate
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * t)) / rate
    sound = sum(np.sin(k * phase) / k for k in range(1, 12))
    return np.asarray(sound * (np.sin(2 * np.pi * 1.5 * t) > -0.5) * 5000, dtype=np.int16)


def _encode(
    name: str, pcm: NDArray[np.int16], rate: int, options: dict[str, str] | None = None
) -> list[bytes]:
    context: Any = av.CodecContext.create(name, "w")
    context.sample_rate, context.layout, context.format = rate, "mono", "s16"
    context.options = options or {}
    if options and "b" in options:
        context.bit_rate = int(options["b"])
    packets = []
    context.open()
    step = context.frame_size or rate // 50
    for start in range(0, len(pcm), step):
        frame = av.AudioFrame.from_ndarray(pcm[None, start : start + step], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets + [bytes(packet) for packet in context.encode(None)]


def _similar(decoded: list[NDArray[np.int16]], original: NDArray[np.int16], least: float) -> None:
    """The decoded sound is the original one, up to the codec's delay."""
    got = np.concatenate(decoded).astype(float)
    assert abs(len(got) - len(original)) < len(original) // 20
    size = min(len(got), len(original))
    spectrum = np.fft.rfft(got[:size], 2 * size) * np.conj(
        np.fft.rfft(original[:size].astype(float), 2 * size)
    )
    correlation = np.fft.irfft(spectrum)
    norm = np.linalg.norm(got[:size]) * np.linalg.norm(original[:size].astype(float))
    assert correlation.max() / norm > least


def test_opus() -> None:
    pcm = _voice(48000)
    packets = _encode("libopus", pcm, 48000, {"b": "32000", "application": "voip"})
    codec = parse_rtpmap("opus/48000/2")
    decoded = decode_payloads(codec, packets)
    assert {len(part) for part in decoded[1:]} == {960}
    _similar(decoded, pcm, 0.8)


def test_g723() -> None:
    pcm = _voice(8000)
    packets = _encode("g723_1", pcm, 8000, {"b": "6300"})
    pairs = [b"".join(packets[i : i + 2]) for i in range(0, len(packets), 2)]
    decoded = decode_payloads(parse_rtpmap("G723/8000"), pairs)
    assert len(decoded[1]) == 480
    _similar(decoded, pcm, 0.6)


def _pack(fields: list[tuple[int, int]]) -> bytes:
    bits = "".join(f"{value:0{count}b}" for value, count in fields if count)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("frames", [1, 3])
def test_amr_in_both_payload_forms(aligned: bool, frames: int) -> None:
    pcm = _voice(8000)
    stored = _encode("libopencore_amrnb", pcm, 8000, {"b": "12200"})
    payloads = []
    for start in range(0, len(stored) - frames + 1, frames):
        group = stored[start : start + frames]
        pad = 2 if aligned else 0
        fields = [(15, 4), (0, 4 if aligned else 0)]
        for i, frame in enumerate(group):
            fields += [(int(i + 1 < frames), 1), (frame[0] >> 3 & 15, 4), (frame[0] >> 2 & 1, 1), (0, pad)]
        for frame in group:
            speech = int.from_bytes(frame[1:32], "big") >> 4
            fields += [(speech, 244), (0, 4 if aligned else 0)]
        payloads.append(_pack(fields))
    codec = parse_rtpmap("AMR/8000", "octet-align=1" if aligned else "")
    decoded = decode_payloads(codec, payloads)
    assert len(decoded[0]) == 160 * frames
    reference: Any = av.CodecContext.create("libopencore_amrnb", "r")
    reference.sample_rate, reference.layout = 8000, "mono"
    wanted = [
        frame.to_ndarray().ravel()
        for octets in stored[: len(payloads) * frames]
        for frame in reference.decode(av.Packet(octets))
    ]
    assert np.array_equal(np.concatenate(decoded), np.concatenate(wanted))
    _similar(decoded, pcm, 0.5)


@pytest.mark.parametrize(
    ("name", "frame_type", "bits"),
    [
        ("AMR", 8, 39),
        ("AMR", 11, 0),
        ("AMR", 15, 0),
        ("AMR-WB", 9, 40),
        ("AMR-WB", 11, 0),
        ("AMR-WB", 14, 0),
        ("AMR-WB", 15, 0),
    ],
)
def test_amr_frames_without_speech_move_nothing(name: str, frame_type: int, bits: int) -> None:
    """SID, lost, "no data" and unknown frames last as long as speech; all but the unknown ones sound on."""
    dice = np.random.default_rng(3)
    size, step, clock = (244, 160, 8000) if name == "AMR" else (132, 320, 16000)
    speech_type = 7 if name == "AMR" else 0

    def frame(kind: int, count: int) -> bytes:
        value = int.from_bytes(dice.bytes(31), "big") >> (248 - count)
        return _pack([(15, 4), (0, 1), (kind, 4), (1, 1), (value, count)])

    payloads = [frame(speech_type, size) for _ in range(30)]
    payloads[20] = frame(frame_type, bits)
    payloads[21] = _pack([(15, 4), (1, 1), (frame_type, 4), (1, 1), (0, 1), (15, 4), (1, 1), (0, bits)])
    decoded = decode_payloads(parse_rtpmap(f"{name}/{clock}"), payloads)
    assert [len(part) for part in decoded] == [step] * 21 + [2 * step] + [step] * 8
    assert all(part.any() for part in decoded[22:])
    if frame_type != 11:
        assert decoded[20].any()


def _by_program(arguments: list[str], pcm: NDArray[np.int16], folder: Path) -> bytes:
    if shutil.which(arguments[0]) is None:
        pytest.skip(f"{arguments[0]} is not installed")
    raw = folder / "in.raw"
    raw.write_bytes(pcm.tobytes())
    out = folder / "out.bin"
    subprocess.run([a.replace("IN", str(raw)).replace("OUT", str(out)) for a in arguments], check=True)
    return out.read_bytes()


def test_gsm(tmp_path: Path) -> None:
    pcm = _voice(8000)
    octets = _by_program(
        ["sox", "-t", "raw", "-r", "8000", "-e", "signed", "-b", "16", "-c", "1", "IN", "-t", "gsm", "OUT"],
        pcm,
        tmp_path,
    )
    payloads = [octets[i : i + 66] for i in range(0, len(octets), 66)]
    decoded = decode_payloads(parse_rtpmap("GSM/8000"), payloads)
    assert len(decoded[0]) == 320
    _similar(decoded, pcm, 0.8)


@pytest.mark.parametrize(("rate", "flag"), [(8000, "--narrowband"), (16000, "--wideband")])
def test_speex(rate: int, flag: str, tmp_path: Path) -> None:
    pcm = _voice(rate)
    ogg = _by_program(
        ["speexenc", "--quiet", flag, "--rate", str(rate), "--le", "--16bit", "IN", "OUT"], pcm, tmp_path
    )
    packets, at = [], 0
    while at < len(ogg):
        count = ogg[at + 26]
        sizes = ogg[at + 27 : at + 27 + count]
        at += 27 + count
        size = 0
        for lace in sizes:
            size += lace
            if lace < 255:
                packets.append(ogg[at : at + size])
                at, size = at + size, 0
    decoded = decode_payloads(parse_rtpmap(f"speex/{rate}"), packets[2:])
    assert len(decoded[0]) == rate // 50
    _similar(decoded, pcm, 0.5)


@pytest.mark.parametrize(("size", "samples"), [(38, 160), (50, 240)])
def test_ilbc_frames_are_cut_by_the_mode(size: int, samples: int) -> None:
    """No iLBC encoder is packaged; the decoder's own silence and the framing are what can be shown."""
    payloads = [bytes(size) * 2 for _ in range(5)]
    decoded = decode_payloads(parse_rtpmap("iLBC/8000", f"mode={20 if size == 38 else 30}"), payloads)
    assert [len(part) for part in decoded] == [2 * samples] * 5
    assert [len(part) for part in decode_payloads(parse_rtpmap("iLBC/8000"), payloads)] == [2 * samples] * 5


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_hostile_payloads_never_raise(name: str) -> None:
    codec = Codec(name, 48000 if name == "OPUS" else 8000, 48000 if name == "OPUS" else 8000)
    random = np.random.default_rng(5)
    payloads = [
        random.integers(0, 256, n, dtype=np.uint8).tobytes() for n in (0, 1, 2, 3, 7, 19, 20, 33, 160, 700)
    ]
    decoded = decode_payloads(codec, payloads)
    assert len(decoded) == len(payloads)
    assert decode_payloads(codec, []) == []


def test_unknown_codec_is_refused_by_name() -> None:
    codec = parse_rtpmap("X-EVS/16000")
    assert not is_external(codec)
    with pytest.raises(UnsupportedError, match="X-EVS/16000"):
        decode_payloads(codec, [b"x"])


def test_struct_of_the_speex_header_is_eighty_octets() -> None:
    assert struct.calcsize("<8s20s13i") == 80


def _leg_of(
    rtpmap: str, payload_type: int, payloads: Sequence[bytes | None], ticks: int, clock: int
) -> callreplay.Call:
    """A capture with SDP that names the codec, and the payloads 20 ms or so apart; None for a lost one."""
    start = 1_700_000_000_000_000_000
    formats = {payload_type: rtpmap}
    offer, answer = sdp("10.0.0.1", 4000, formats), sdp("10.0.0.2", 5000, formats)
    invite = sip("INVITE sip:200@pbx SIP/2.0", body=offer)
    accept = sip("SIP/2.0 200 OK", to="<sip:200@pbx>;tag=b", body=answer)
    records = [
        (start - 2_000_000_000, udp("10.0.0.1", 5060, "10.0.0.2", 5060, invite)),
        (start - 1_000_000_000, udp("10.0.0.2", 5060, "10.0.0.1", 5060, accept)),
    ]
    for index, payload in enumerate(payloads):
        if payload is None:
            continue
        packet = rtp(index, index * ticks, 7, payload_type, payload)
        at = start + index * ticks * 1_000_000_000 // clock
        records.append((at, udp("10.0.0.1", 4000, "10.0.0.2", 5000, packet)))
    (call,) = callreplay.open(pcap(records)).calls
    return call


def test_lost_packets_are_bridged() -> None:
    """As docs/concealment.md says: what other decoders leave out is filled from both sides."""
    sent: list[bytes | None] = [*_encode("libopus", _voice(48000), 48000, {"b": "32000"})]
    sent[40:42] = [None, None]
    leg = _leg_of("opus/48000/2", 111, sent, 960, 48000).caller
    (gap,) = leg.columns.gaps
    assert (GapReason(int(gap["reason"])), int(gap["start"]), int(gap["ticks"])) == (
        GapReason.LOST,
        40 * 960,
        2 * 960,
    )
    pcm = leg.pcm()
    level = np.sqrt((pcm[38 * 960 : 40 * 960].astype(float) ** 2).mean())
    assert np.sqrt((pcm[40 * 960 : 42 * 960].astype(float) ** 2).mean()) == pytest.approx(level, rel=0.4)
    external = leg.external()
    assert external is not None
    alone = external[0]
    assert not isinstance(alone, np.ndarray)
    lost = alone.whole()
    assert not lost[40 * 960 : 42 * 960].any()
    around = np.r_[: 40 * 960, 42 * 960 : 50 * 960]
    assert np.array_equal(pcm[around], lost[around])


def _pairs(frames: list[bytes], count: int) -> list[bytes]:
    return [b"".join(frames[i : i + count]) for i in range(0, len(frames) - count + 1, count)]


@pytest.mark.parametrize(
    ("rtpmap", "payload_type", "ticks", "clock"),
    [
        ("opus/48000/2", 111, 960, 48000),
        ("G723/8000", 4, 480, 8000),
        ("GSM/8000", 3, 160, 8000),
        ("iLBC/8000", 100, 240, 8000),
        ("AMR/8000", 102, 160, 8000),
        ("AMR-WB/16000", 103, 320, 16000),
        ("speex/16000", 104, 320, 16000),
    ],
)
def test_a_capture_of_each_codec_plays(
    rtpmap: str, payload_type: int, ticks: int, clock: int, tmp_path: Path
) -> None:
    """From SDP to samples: each packet's audio stands at its timestamp, at the codec's own rate."""
    codec = parse_rtpmap(rtpmap)
    if codec.name == "OPUS":
        payloads = _encode("libopus", _voice(48000), 48000, {"b": "32000"})
    elif codec.name == "G723":
        payloads = _pairs(_encode("g723_1", _voice(8000), 8000, {"b": "6300"}), 2)
    elif codec.name == "AMR":
        stored = _encode("libopencore_amrnb", _voice(8000), 8000, {"b": "12200"})
        payloads = [
            _pack([(15, 4), (0, 1), (f[0] >> 3 & 15, 4), (1, 1), (int.from_bytes(f[1:32], "big") >> 4, 244)])
            for f in stored
        ]
    else:
        # No encoder at hand: frames of the right length, whose sound is the decoder's affair.
        size = {"GSM": 33, "ILBC": 50, "AMR-WB": 0, "SPEEX": 0}[codec.name]
        dice = np.random.default_rng(1)
        payloads = [
            bytes([0xD0 | 1]) + dice.integers(0, 256, max(size - 1, 0), dtype=np.uint8).tobytes()
            for _ in range(60)
        ]
        if codec.name == "AMR-WB":
            payloads = [
                _pack([(15, 4), (0, 1), (0, 4), (1, 1), (int(dice.integers(2**60)) << 72, 132)])
                for _ in range(60)
            ]
        if codec.name == "SPEEX":
            # Narrowband sub-mode 8 frames without a wideband layer: 79 bits, then the terminator.
            payloads = [
                _pack([(0, 1), (8, 4), (int(dice.integers(2**60)) << 14, 74), (15, 5)]) for _ in range(60)
            ]
    call = _leg_of(rtpmap, payload_type, payloads, ticks, clock)
    assert [c.name for c in call.caller.codecs] == [codec.name]
    got = call.caller.pcm()
    step = ticks * codec.sample_rate_hz // clock
    for index, part in enumerate(decode_payloads(codec, payloads)[:-1]):
        assert np.array_equal(got[index * step : index * step + len(part)], part), index
    assert call.mix("caller").any()


def test_without_pyav_the_report_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callreplay.audio.pyav.available", lambda: False)
    call = _leg_of("opus/48000/2", 111, [b"\xf8\xff\xfe"] * 20, 960, 48000)
    assert not call.mix().any()
    assert any("callreplay[av]" in warning for warning in call.report()["warnings"])


def _renderer(leg: callreplay.Leg, external: Any, rate_hz: int, start_s: float = 0.0) -> Renderer:
    return Renderer([leg.columns], rate_hz, "mono", start_s, dtmf="keep", external=[external], block_ms=500)


@pytest.mark.parametrize("rate_hz", [8000, 48000])
@pytest.mark.parametrize("start_s", [0.0, 7.25])
def test_a_long_span_is_decoded_as_far_as_it_is_heard(rate_hz: int, start_s: float) -> None:
    """The samples are those of a span decoded whole, whatever the blocks; the first come after seconds of it."""
    packets = _encode("libopus", np.tile(_voice(48000), 20), 48000, {"b": "32000"})
    call = _leg_of("opus/48000/2", 111, packets, 960, 48000)
    leg = call.caller
    whole = {index: pcm.whole() for index, pcm in decode_spans(leg.columns).items()}
    wanted = _renderer(leg, whole, rate_hz, start_s).read(10**9)
    assert wanted.any()
    for block in (160, 8001, 65536):
        (index,) = lazy = decode_spans(leg.columns)
        reading = _renderer(leg, lazy, rate_hz, start_s)
        blocks = [reading.read(block)]
        if block == 160:
            assert lazy[index]._done < 50 * (start_s + 6) < len(packets), "not more than seconds ahead"
        while len(more := reading.read(block)):
            blocks.append(more)
        np.testing.assert_array_equal(np.concatenate(blocks), wanted)
    assert leg.undecoded == []


def test_a_span_that_takes_no_memory_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    packets = _encode("libopus", np.tile(_voice(48000), 4), 48000, {"b": "32000"})
    leg = _leg_of("opus/48000/2", 111, packets, 960, 48000).caller
    wanted = leg.pcm()
    monkeypatch.setattr(external, "_IN_MEMORY", 0)
    monkeypatch.setattr(external, "_PIECE", 1 << 16)
    (pcm,) = decode_spans(leg.columns).values()
    assert pcm._map is not None
    np.testing.assert_array_equal(pcm.whole(), wanted[: len(pcm.whole())])
    assert pcm._kept > 0


def test_refused_packets_are_told() -> None:
    good = _encode("libopus", _voice(48000), 48000, {"b": "32000"})
    packets = [b"\xff" * 3 if number % 10 == 9 else packet for number, packet in enumerate(good)]
    leg = _leg_of("opus/48000/2", 111, packets, 960, 48000).caller
    assert leg.undecoded == []
    leg.pcm()
    (line,) = leg.undecoded
    assert "packets could not be decoded and are silent" in line
    assert line in leg.warnings


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_no_codec_takes_more_than_seconds_of_payloads_ahead(name: str) -> None:
    """What comes out is what a whole span gives, and an hour costs no more memory than its first seconds."""
    codec = parse_rtpmap(
        f"{name}/{16000 if name in ('AMR-WB', 'SPEEX') else 48000 if name == 'OPUS' else 8000}"
    )
    size = {"ILBC": 50, "GSM": 33, "G723": 24, "AMR": 32, "AMR-WB": 18}.get(name, 20)
    dice = np.random.default_rng(7)
    given = [b"\xf8" + dice.integers(0, 256, size - 1, np.uint8).tobytes() for _ in range(400)]
    given[3:5] = [b"", b"\x00"]
    taken = 0

    def payloads() -> Iterator[bytes]:
        nonlocal taken
        for payload in given:
            taken += 1
            yield payload

    most_ahead, parts = 0, []
    for number, part in enumerate(stream_payloads(codec, payloads())):
        parts.append(part)
        most_ahead = max(most_ahead, taken - number)
    assert len(parts) == len(given)
    assert most_ahead <= 4096 * 2 // size + 2, "two readings of a demuxer"
    for wanted, part in zip(decode_payloads(codec, given), parts, strict=True):
        np.testing.assert_array_equal(part, wanted)


def test_a_long_span_in_blocks_takes_no_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """scripts/bench external measures an hour; here everything that Python and NumPy allocate counts."""
    packets = _encode("libopus", _voice(48000), 48000, {"b": "32000"})
    leg = _leg_of("opus/48000/2", 111, packets * 10, 960, 48000).caller
    monkeypatch.setattr(external, "_IN_MEMORY", 0)
    monkeypatch.setattr(external, "_PIECE", 1 << 18)
    (index,) = lazy = decode_spans(leg.columns)
    reading = _renderer(leg, lazy, 8000)
    reading.read(8000)
    tracemalloc.start()
    try:
        while len(reading.read(8000)):
            pass
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert lazy[index]._done == len(packets * 10)
    assert most < 1 << 19, "of 1.9 MB that the span is"
