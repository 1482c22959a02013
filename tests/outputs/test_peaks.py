import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from callreplay.errors import ArgumentError
from callreplay.outputs.peaks import Peaks


def _speech(frames: int, channels: int) -> NDArray[np.int16]:
    random = np.random.default_rng(frames)
    envelope = np.abs(np.sin(np.arange(frames) / 997.0))[:, None]
    return (
        np.asarray(random.normal(0, 6000, (frames, channels)) * envelope).clip(-32768, 32767).astype(np.int16)
    )


def _reference(pcm: NDArray[np.int16], group: int) -> tuple[list[list[int]], list[list[int]]]:
    """Audiowaveform's definition, sample by sample."""
    low, high = [], []
    for start in range(0, len(pcm), group):
        part = pcm[start : start + group].tolist()
        low.append([min(column) for column in zip(*part, strict=True)])
        high.append([max(column) for column in zip(*part, strict=True)])
    return low, high


@given(
    frames=st.integers(0, 700),
    channels=st.integers(1, 4),
    group=st.integers(1, 300),
    block=st.integers(1, 400),
)
def test_values_are_the_plain_minimum_and_maximum(frames: int, channels: int, group: int, block: int) -> None:
    pcm = _speech(frames, channels)
    peaks = Peaks(channels, samples_per_pixel=group)
    for start in range(0, frames, block):
        peaks.write(pcm[start : start + block])
    low, high = _reference(pcm, group)
    assert peaks.low.tolist() == low
    assert peaks.high.tolist() == high


def test_rms_is_exact_for_full_scale() -> None:
    peaks = Peaks(2, 1000)
    peaks.write(np.tile(np.array([[-32768, 32767]], np.int16), (2500, 1)))
    assert peaks.rms[:, 0].tolist() == [32768.0] * 3
    assert peaks.rms[:, 1] == pytest.approx([32767.0] * 3)


def test_coarser_equals_computed_from_the_audio() -> None:
    pcm = _speech(10_000, 2)
    fine, coarse = Peaks(2, 64), Peaks(2, 64 * 5)
    fine.write(pcm)
    coarse.write(pcm)
    joined = fine.coarser(5)
    assert joined.samples_per_pixel == 320
    assert np.array_equal(joined.buckets, coarse.buckets)
    with pytest.raises(ArgumentError):
        joined.write(pcm)


def test_json_versions_and_the_binary_file_hold_the_same_numbers() -> None:
    pcm = _speech(3000, 2)
    peaks = Peaks(2, 256)
    peaks.write(pcm)
    document = json.loads(peaks.to_json(8000))
    assert (document["version"], document["channels"], document["sample_rate"]) == (2, 2, 8000)
    assert (document["samples_per_pixel"], document["bits"], document["length"]) == (256, 16, 12)
    low, high = _reference(pcm, 256)
    want = [
        value
        for lows, highs in zip(low, high, strict=True)
        for pair in zip(lows, highs, strict=True)
        for value in pair
    ]
    assert document["data"] == want
    dat = peaks.to_dat(8000)
    assert struct.unpack_from("<iIiiIi", dat) == (2, 0, 8000, 256, 12, 2)
    assert np.frombuffer(dat, "<i2", offset=24).tolist() == want


def test_version_one_and_eight_bits() -> None:
    peaks = Peaks(1, 2)
    peaks.write(np.array([-1, 255, -256, 256, -32768, 32767, -257], np.int16))
    document = json.loads(peaks.to_json(16000, version=1, bits=8))
    assert "channels" not in document
    assert document["data"] == [0, 0, -1, 1, -128, 127, -1, -1]
    dat = peaks.to_dat(16000, version=1, bits=8)
    assert struct.unpack_from("<iIiiI", dat) == (1, 1, 16000, 2, 4)
    assert np.frombuffer(dat, "i1", offset=20).tolist() == document["data"]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ArgumentError):
        Peaks(0)
    with pytest.raises(ArgumentError):
        Peaks(1, 0)
    stereo = Peaks(2)
    with pytest.raises(ArgumentError, match="version 1"):
        stereo.to_json(8000, version=1)
    with pytest.raises(ArgumentError, match="version"):
        stereo.to_dat(8000, version=3)
    with pytest.raises(ArgumentError, match="int16"):
        stereo.write(np.zeros(4, np.float32))
    with pytest.raises(ArgumentError, match="whole frames"):
        stereo.write(np.zeros(3, np.int16))


def test_same_bytes_whatever_the_buffer_layout() -> None:
    pcm = _speech(5000, 2)
    plain, strided = Peaks(2), Peaks(2)
    plain.write(pcm)
    strided.write(np.asfortranarray(pcm))
    assert plain.to_dat(8000) == strided.to_dat(8000)


MODULES = os.environ.get("CALLREPLAY_NODE_MODULES", "")


@pytest.mark.skipif(
    shutil.which("node") is None or not (Path(MODULES) / "waveform-data").is_dir() or not MODULES,
    reason="needs node, and CALLREPLAY_NODE_MODULES with waveform-data (npm install waveform-data)",
)
@pytest.mark.parametrize(("version", "channels"), [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_reader_of_peaks_js_finds_our_numbers(
    version: int, channels: int, bits: Literal[8, 16], tmp_path: Path
) -> None:
    """waveform-data, which peaks.js draws from, reads both files and zooms out as `coarser` does."""
    peaks = Peaks(channels, 64)
    peaks.write(_speech(10_000, channels))
    (tmp_path / "x.json").write_text(peaks.to_json(8000, version=version, bits=bits))
    (tmp_path / "x.dat").write_bytes(peaks.to_dat(8000, version=version, bits=bits))
    script = """
      const W = require(process.argv[1] + '/waveform-data'), fs = require('fs');
      const b = fs.readFileSync('x.dat');
      const files = [W.create(JSON.parse(fs.readFileSync('x.json'))),
        W.create(b.buffer.slice(b.byteOffset, b.byteOffset + b.length))];
      const show = w => [w.sample_rate, w.scale, w.bits, w.length, w.duration,
        [...Array(w.channels).keys()].map(c => [w.channel(c).min_array(), w.channel(c).max_array()])];
      console.log(JSON.stringify(files.map(w => [show(w), show(w.resample({scale: 320}))])));
    """
    done = subprocess.run(
        ["node", "-e", script, str(Path(MODULES).resolve())], cwd=tmp_path, check=True, capture_output=True
    )
    divide = 256 if bits == 8 else 1

    def shown(level: Peaks) -> list[object]:
        pairs = [
            [np.trunc(level.low[:, c] / divide).tolist(), np.trunc(level.high[:, c] / divide).tolist()]
            for c in range(channels)
        ]
        count = len(level.buckets)
        return [8000, level.samples_per_pixel, bits, count, count * level.samples_per_pixel / 8000, pairs]

    assert json.loads(done.stdout) == [[shown(peaks), shown(peaks.coarser(5))]] * 2


def test_values_are_those_of_audiowaveforms_definition_for_a_whole_call() -> None:
    """Its documented rules, in plain Python: groups of samples_per_pixel from the first sample on, a last group of what
    is left, minimum before maximum, channels side by side, 8 bits by dividing by 256 towards zero.
    """
    pcm = _speech(8000 * 3 + 17, 2)
    pcm[100:140], pcm[5000:5040] = 32767, -32768
    peaks = Peaks(2, 256)
    peaks.write(pcm)
    want: list[int] = []
    for start in range(0, len(pcm), 256):
        for channel in range(2):
            group = [int(x) for x in pcm[start : start + 256, channel]]
            want += [min(group), max(group)]
    assert json.loads(peaks.to_json(8000))["data"] == want
    eight = [-(-x // 256) if x < 0 else x // 256 for x in want]
    assert json.loads(peaks.to_json(8000, bits=8))["data"] == eight


def test_buckets_of_a_known_length_are_a_view_that_outlives_the_peaks() -> None:
    peaks = Peaks.fit(1, 100, 4)
    buckets = peaks.buckets
    peaks.write(np.arange(100, dtype=np.int16))
    del peaks
    assert buckets["high"].ravel().tolist() == [24, 49, 74, 99]
    assert not buckets.flags.writeable
    growing = Peaks(1, 25)
    growing.write(np.arange(50, dtype=np.int16))
    assert growing.buckets.flags.owndata
