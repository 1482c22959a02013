"""Data sets for PyTorch, where it is installed (its wheel is large: the test set-up does not bring it)."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import callreplay

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: pip install 'callreplay[torch]'")
data = pytest.importorskip("torch.utils.data")

from callreplay.errors import ArgumentError  # noqa: E402
from callreplay.torch import CallPieces, CallStream  # noqa: E402

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
PATHS = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".pcap", ".pcapng"))


def test_pieces_are_the_calls_cut_in_a_grid() -> None:
    pieces = CallPieces(PATHS, 4.0)
    assert len(pieces) == sum(-(-callreplay.open(p)[0].duration_s // 4.0) for p in PATHS)
    for index in range(len(pieces)):
        item = pieces[index]
        assert item["audio"].shape == (2, 64000)
        call = callreplay.open(item["capture"])[item["call"] - 1]
        whole = call.mix(rate=16000, dtype="float32")
        first = round(item["start_s"] * 16000)
        part = whole[first : first + 64000].T
        assert np.array_equal(item["audio"][:, : item["frames"]].numpy(), part)
        assert not item["audio"][:, item["frames"] :].any()
    with pytest.raises(IndexError):
        pieces[len(pieces)]


def test_workers_decode_and_batches_are_collated() -> None:
    pieces = CallPieces(PATHS, 2.0, channels="mono", rate=8000)
    pieces[0]  # has a capture open, which does not travel
    assert len(pickle.dumps(pieces)) < 4000
    loader = data.DataLoader(pieces, batch_size=4, num_workers=2, multiprocessing_context="spawn")
    shapes = [batch["audio"].shape for batch in loader]
    assert sum(shape[0] for shape in shapes) == len(pieces)
    assert {tuple(shape[1:]) for shape in shapes} == {(1, 16000)}


def test_a_stream_gives_what_segments_give() -> None:
    found = list(CallStream([*PATHS, SAMPLES / "make.py"], 6.0))
    expected = {
        (str(path), piece.channel, round(piece.start_s, 6)): piece.pcm
        for path in PATHS
        for piece in callreplay.open(path)[0].segments(6.0)
    }
    assert len(found) == len(expected)
    for item in found:
        side = ("caller", "called").index(item["speaker"])
        pcm = expected[item["capture"], side, round(item["start_s"], 6)]
        assert np.array_equal(item["audio"][0].numpy(), pcm.astype(np.float32) / 32768)
        assert item["talk"][0]


def test_a_stream_is_shared_out_and_tells_what_it_passed_over() -> None:
    stream = CallStream([*PATHS, SAMPLES / "make.py"], 6.0, channels="stereo")
    alone = sorted((item["capture"], item["start_s"]) for item in stream)
    assert [path for path, _ in stream.errors] == [str(SAMPLES / "make.py")]
    loader = data.DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    assert sorted((item["capture"], item["start_s"]) for item in loader) == alone


def test_bad_arguments() -> None:
    with pytest.raises(ArgumentError):
        CallStream(PATHS, channels="left")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError):
        CallPieces(PATHS, 0)
