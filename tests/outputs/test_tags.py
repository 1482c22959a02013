"""What files say of themselves, as others read it and as we read it back."""

import json
import shutil
import struct
import subprocess
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import programs

import callreplay
from callreplay.errors import FormatError, OutputError
from callreplay.outputs.tag_reading import audio_format, read_tags
from callreplay.outputs.tags import flac_with_length, wav_with_tags

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "reservation.pcap"
FORMATS = ("wav", "flac", "opus", "spx", "mp3", "m4a")
SAID = {
    "TITLE": "Ana Pop <0721555010> → Front Desk <2001>, 2026-01-06T08:30:01Z, 0:00:20",
    "DATE": "2026-01-06T08:30:01.988001Z",
    "CALLER": "Ana Pop <0721555010>",
    "CALLED": "Front Desk <2001>",
    "CALLID": "reservation@192.0.2.10",
    "UUID": "0b9d1c8e-3f52-4c57-9f1e-52e0a3a4d7aa",
}


@pytest.fixture(scope="module")
def call() -> callreplay.Call:
    made = callreplay.open(SAMPLE)[0]
    made.uuid = SAID["UUID"]
    return made


def _probe(path: Path) -> dict[str, Any]:
    if shutil.which("ffprobe") is None:
        pytest.skip("needs ffprobe")
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    tags = {**found["format"].get("tags", {}), **found["streams"][0].get("tags", {})}
    return {
        **{key.lower(): value for key, value in tags.items()},
        "duration_s": float(found["format"]["duration"]),
    }


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read_back(form: Any, call: callreplay.Call, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form}"
    call.save(path)
    tags = read_tags(path)
    assert tags.format == form
    assert {name: tags.comments.get(name) for name in SAID} == SAID
    call.save(path, metadata=False)
    bare = read_tags(path)
    assert not {"TITLE", "DATE", "CALLID", "CALLER"} & set(bare.comments)


@pytest.mark.parametrize("form", FORMATS)
def test_others_read_it_too(form: Any, call: callreplay.Call, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form}"
    call.save(path)
    found = _probe(path)
    assert found["title"] == SAID["TITLE"]
    assert found["date"] == SAID["DATE"]
    if form in ("wav", "m4a"):
        assert set(found["comment"].split("\n")) == {
            f"{name}={SAID[name]}" for name in ("CALLER", "CALLED", "CALLID", "UUID")
        }
    else:
        assert [found[name.lower()] for name in ("CALLER", "CALLED", "CALLID", "UUID")] == [
            SAID[name] for name in ("CALLER", "CALLED", "CALLID", "UUID")
        ]
    assert found["duration_s"] == pytest.approx(call.duration_s, abs=0.2)


def test_samples_are_the_same_with_and_without(call: callreplay.Call, tmp_path: Path) -> None:
    for sample_format in ("int16", "ulaw", "alaw"):
        read = []
        for metadata in (True, False):
            law: Any = sample_format
            call.save(tmp_path / "x.wav", metadata=metadata, sample_format=law, end=1.000125)
            octets = (tmp_path / "x.wav").read_bytes()
            assert struct.unpack_from("<I", octets, 4)[0] == len(octets) - 8
            at = octets.index(b"data")
            (size,) = struct.unpack_from("<I", octets, at + 4)
            read.append(octets[at + 8 : at + 8 + size])
        assert read[0] == read[1]
    call.save(tmp_path / "x.wav", channels="stereo")
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert np.array_equal(np.frombuffer(file.readframes(1 << 30), "<i2").reshape(-1, 2), call.mix())


@pytest.mark.parametrize(("rate", "start"), [(8000, 0.0), (16000, 1.5), (44100, 12.25)])
def test_the_broadcast_extension_says_when_the_first_sample_was(
    rate: int, start: float, call: callreplay.Call, tmp_path: Path
) -> None:
    path = tmp_path / "x.wav"
    call.save(path, rate=rate, start=start)
    tags, found = read_tags(path), _probe(path)
    midnight = call.start_ns // 86_400_000_000_000 * 86_400_000_000_000
    wanted = (call.start_ns - midnight) / 1e9 * rate + round(start * rate)
    assert tags.time_reference == pytest.approx(wanted, abs=1)
    assert int(found["time_reference"]) == tags.time_reference
    assert tags.time_reference is not None
    assert int(tags.time_reference / rate % 60) == int(tags.origination[-2:])
    assert found["date"].startswith("2026-01-06")
    assert found["encoded_by"] == "callreplay"


def test_the_day_turns_with_the_samples() -> None:
    day = 86_400_000_000_000
    head = wav_with_tags(bytes(36) + b"data" + bytes(4), {"TITLE": "x"}, 20_000 * day - 1, 8000, 1)
    at = head.index(b"bext") + 8
    assert head[at + 320 : at + 338] == b"2024-10-0400:00:00"
    assert struct.unpack_from("<Q", head, at + 338) == (0,)


def test_rf64_keeps_its_sizes_right_and_riff_never_overflows() -> None:
    from callreplay import _core

    comments = {"TITLE": "a call", "CALLID": "x"}
    large = _core.wav_header(0, 8000, 2, 1 << 31)
    tagged = wav_with_tags(large, comments, 1, 8000, 2)
    grown = len(tagged) - len(large)
    assert struct.unpack_from("<Q", tagged, 20)[0] == struct.unpack_from("<Q", large, 20)[0] + grown
    edge = _core.wav_header(0, 8000, 1, (0xFFFFFFFF - 100) // 2)
    assert wav_with_tags(edge, comments, 1, 8000, 1) == edge


@pytest.mark.parametrize("frames", [0, 1, 159_520, (1 << 32) + 5, (1 << 36) - 1, 1 << 36])
def test_flac_s_length_is_36_bits(frames: int) -> None:
    head = bytes.fromhex("664c6143 00000022 1000 1000 000000 000000 01f400f0 00000000") + bytes(16)
    made = flac_with_length(head, frames)
    packed = int.from_bytes(made[18:26], "big")
    assert packed & (1 << 36) - 1 == (frames if frames < 1 << 36 else 0)
    assert packed >> 36 == int.from_bytes(head[18:26], "big") >> 36


@pytest.mark.parametrize("end", [None, 5.0, 0.01])
def test_flac_knows_its_length(end: float | None, call: callreplay.Call, tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    call.save(path, end=end, channels="stereo")
    frames = len(call.mix(end=end))
    assert read_tags(path).frames == frames
    assert _probe(path)["duration_s"] == pytest.approx(frames / 8000, abs=1e-6)


def test_what_a_wire_says_cannot_break_a_file(tmp_path: Path) -> None:
    call = callreplay.open(SAMPLE)[0]
    bad = "x\0y\nUUID=forged\r" + "z" * 5000 + "\udc80"
    call.description.call_id = bad
    for form in FORMATS:
        path = tmp_path / f"x.{form}"
        call.save(path, end=0.5)
        comments = read_tags(path).comments
        assert comments["CALLID"].startswith("x y UUID=forged z")
        assert "UUID" not in comments


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_files_give_what_is_whole(form: Any, call: callreplay.Call, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form}"
    call.save(path, end=0.5)
    whole = path.read_bytes()
    for cut in (*range(12, min(len(whole), 1200), 37), len(whole) - 1):
        path.write_bytes(whole[:cut])
        read_tags(path)
    random = np.random.default_rng(1)
    for _ in range(300):
        octets = bytearray(whole[:2000])
        for at in random.integers(12, len(octets), 4):
            octets[at] = random.integers(256)
        path.write_bytes(octets)
        read_tags(path)


def test_what_is_no_audio_file_is_said_to_be_none(tmp_path: Path) -> None:
    assert audio_format(SAMPLE) == ""
    assert audio_format(tmp_path / "absent") == ""
    with pytest.raises(FormatError, match="no WAV, FLAC"):
        read_tags(SAMPLE)
    with pytest.raises(OutputError, match="No such file"):
        read_tags(tmp_path / "absent")


def test_info_reads_back(call: callreplay.Call, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    call.save(path, channels="stereo")
    command = ["info", str(path)]
    shown = programs.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.startswith(f"{path}: wav, 8000 Hz, stereo, 0:00:20\n")
    for value in SAID.values():
        assert value in shown
    found = json.loads(programs.run([*command, "--json"], capture_output=True, check=True).stdout)
    assert {name: found["comments"][name] for name in SAID} == SAID
    assert (found["frames"], found["duration_s"]) == (159_520, 19.94)
    programs.run(["transcode", SAMPLE, "-o", path, "--no-metadata"], check=True)
    assert path.stat().st_size == 44 + 2 * 159_520
    assert (
        "says nothing of itself" in programs.run(command, capture_output=True, text=True, check=True).stdout
    )


def test_a_chunk_longer_than_any_file_ends_the_reading() -> None:
    import io

    from callreplay.outputs.tag_reading import read_tags_of

    endless = b"\0\0\0\x10ftypM4A \0\0\0\0" + b"\0\0\0\x01free" + b"\xff" * 8
    assert read_tags_of(io.BytesIO(endless + bytes(8)), "endless").format
