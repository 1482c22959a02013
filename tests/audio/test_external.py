"""What cannot be decoded is told wherever it is asked for, and never taken for whole."""

from __future__ import annotations

import io
import json
import subprocess
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest
from bench._captures import leg, write_pcap
from tests import programs

import callreplay
from callreplay.audio import external, pyav
from callreplay.audio.decode import decode_many
from callreplay.batch import BatchSettings, find_jobs, read_rows, run_batch
from callreplay.batch.manifest import parquet_path
from callreplay.errors import ArgumentError

ILBC = {100: "iLBC/8000;mode=20"}


@pytest.fixture
def pcap(tmp_path: Path) -> Path:
    path = tmp_path / "call.pcap"
    write_pcap(path, leg(3, 0), leg(3, 1, seed=2))
    return path


@pytest.fixture
def ilbc_pcap(tmp_path: Path) -> Path:
    """Of a codec that PyAV decodes."""
    path = tmp_path / "call.pcap"
    write_pcap(path, leg(3, 0, "ILBC"), leg(3, 1, "ILBC", seed=2))
    return path


@pytest.fixture
def without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyav, "available", lambda: False)


def other(pcap: Path) -> callreplay.Capture:
    return callreplay.open(pcap, codecs=ILBC)


def test_a_leg_tells_before_it_is_decoded(ilbc_pcap: Path, without_av: None) -> None:
    (call,) = other(ilbc_pcap).calls
    assert len(call.undecoded) == 2
    assert all("needs PyAV" in line for line in call.undecoded)
    assert call.report(audio=False)["undecoded"] == call.undecoded
    assert set(call.undecoded) <= set(call.all_warnings())
    assert not call.mix().any()


def test_a_leg_tells_what_a_decoder_refused(pcap: Path) -> None:
    if not pyav.available():
        pytest.skip("PyAV is not installed")
    (call,) = callreplay.open(pcap, codecs={0: "AMR-WB/16000"}).calls
    (plain,) = callreplay.open(pcap).calls
    assert plain.undecoded == call.undecoded == []
    call.mix()
    assert plain.undecoded == []


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return programs.run(words, capture_output=True, text=True)


def test_transcode_says_it_and_strict_is_status_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from callreplay import capture
    from callreplay.cli.transcoding import UNDECODED, run
    from callreplay.outputs.options import Options

    path = tmp_path / "call.pcap"
    write_pcap(path, leg(3, 0), leg(3, 1, seed=2))
    monkeypatch.setattr(capture, "_hints", lambda _: {0: callreplay.codecs.parse_rtpmap("EVS/16000")})
    for strict in (False, True):
        said = io.StringIO()
        with redirect_stderr(said):
            status = run([path], str(tmp_path / "x.wav"), "", None, [], Options(), strict=strict)
        assert status == (UNDECODED if strict else 0)
        assert UNDECODED == 3
        assert said.getvalue().count("EVS/16000 (payload type 0) cannot be decoded") == 2
        # The same lines that `info` shows.
        (call,) = capture.open_capture(path).calls
        assert [
            f"callreplay: warning: {line}" for line in call.report()["warnings"]
        ] == said.getvalue().splitlines()


def test_first_minutes_of_transcode(pcap: Path, tmp_path: Path) -> None:
    done = command("transcode", str(pcap), "-o", str(tmp_path / "a.wav"), "--codec", "0=FOO/8000")
    assert (done.returncode, "FOO/8000 is none that is known" in done.stderr) == (2, True), done.stderr
    done = command("transcode", str(pcap), "-o", str(tmp_path / "a.wav"), "--start", "99")
    assert (done.returncode, "beyond the end" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "a.wav").exists()
    done = command("transcode", str(pcap), "-o", str(tmp_path / "a.wav"), "--format", "spx")
    assert done.returncode == 0
    assert "is spx, not the wav that its suffix says" in done.stderr
    (tmp_path / "empty").mkdir()
    done = command("batch", str(tmp_path / "empty"), "-o", str(tmp_path / "out"))
    assert "no capture was found in" in done.stderr
    with pytest.raises(ArgumentError, match="none that is known"):
        callreplay.open(pcap, codecs={0: "FOO/8000"})


def test_a_batch_does_not_call_it_whole(
    ilbc_pcap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row tells, has no MOS, and is made again once there is another decoder; in Parquet too."""
    import pyarrow.parquet

    monkeypatch.setattr(pyav, "available", lambda: False)
    out = tmp_path / "out"
    settings = BatchSettings(str(out), "wav", workers=1)
    from callreplay.batch.destinations import open_destination
    from callreplay.batch.worker import Order, run_share
    from callreplay.outputs.options import Options

    jobs = find_jobs([str(ilbc_pcap)], ILBC)
    out.mkdir()
    (row,) = run_share(jobs, Order("wav", Options()), open_destination(str(out)))
    assert (row.error, row.mos, row.decoders) == ("", None, "")
    assert sum("needs PyAV" in line for line in row.warnings) == 2
    from callreplay.batch.manifest import ManifestWriter, write_parquet
    from callreplay.batch.resume import survey

    with ManifestWriter(settings.manifest_path(), fresh=True) as manifest:
        manifest.write(row)
    assert list(read_rows(settings.manifest_path())) == [row]
    place, order = open_destination(str(out)), Order("wav", Options())
    assert survey(jobs, order, settings.manifest_path(), place) == [], "no better decoder: nothing to do"
    monkeypatch.setattr(pyav, "available", lambda: True)
    monkeypatch.setattr(pyav, "version", lambda: "av 99")
    assert survey(jobs, order, settings.manifest_path(), place) == jobs
    write_parquet(settings.manifest_path(), parquet_path(settings.manifest_path()))
    table = pyarrow.parquet.read_table(parquet_path(settings.manifest_path()))
    assert table["warnings"].to_pylist() == [list(row.warnings)]
    assert table["decoders"].to_pylist() == [""]


def test_batches_of_each_speaker_stand_side_by_side(pcap: Path, tmp_path: Path) -> None:
    from callreplay.outputs.options import Options

    for channels in ("caller", "called", "stereo"):
        jobs = find_jobs([str(pcap)])
        run_batch(jobs, BatchSettings(str(tmp_path / "out"), "wav", Options(channels=channels), workers=1))
    names = sorted(path.name for path in (tmp_path / "out").glob("*.wav"))
    assert names == ["call.called.wav", "call.caller.wav", "call.wav"]
    assert len({path.read_bytes() for path in (tmp_path / "out").glob("*.wav")}) == 3


def test_many_legs_decode_as_one_does(ilbc_pcap: Path) -> None:
    if not pyav.available():
        pytest.skip("PyAV is not installed")
    (call,) = other(ilbc_pcap).calls
    wanted = [each.pcm() for each in call.legs]
    assert all(pcm.any() for pcm in wanted)
    for given in (list(call.legs), [each.columns for each in call.legs]):
        out = [np.empty(len(pcm), np.int16) for pcm in wanted]
        for made, pcm in zip(decode_many(given, out), wanted, strict=True):
            np.testing.assert_array_equal(made, pcm)
        chunks = list(decode_many(given))
        assert {chunk.leg for chunk in chunks} == {0, 1}
        assert any(chunk.pcm.any() for chunk in chunks)


def test_json_lines_of_a_manifest_keep_warnings(tmp_path: Path) -> None:
    from callreplay.batch.manifest import Row, as_line

    row = Row("a", "b", 1, "k", warnings=("x", "y"), decoders="")
    assert json.loads(as_line(row))["warnings"] == ["x", "y"]
    (tmp_path / "m.jsonl").write_text(as_line(row))
    assert list(read_rows(tmp_path / "m.jsonl")) == [row]
    assert external.decoders() == pyav.version()
