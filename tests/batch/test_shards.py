"""Data sets: shards that other libraries read, whole or not there, the same for the same captures."""

import hashlib
import io
import json
import shutil
import tarfile
import wave
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import callreplay
from callreplay.batch import BatchSettings, Job, Row, Shards, Summary, find_jobs, run_batch
from callreplay.batch.destinations import Folder
from callreplay.batch.engine import plan_of
from callreplay.batch.sharding import _Kept, _Members, _Parts, _ShardWork, _Spool, run_shards
from callreplay.batch.shards import halves
from callreplay.batch.worker import Feed, run_share
from callreplay.errors import ArgumentError
from callreplay.outputs.options import Options

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
CAPTURES = ("reservation.pcap", "support.pcap", "wideband.pcapng")
SHORT = 6.0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in CAPTURES:
        shutil.copy(SAMPLES / name, folder)
    return folder


def _settings(out: Path, container: str = "webdataset", **more: Any) -> BatchSettings:
    options = more.pop("options", Options())
    octets = more.pop("octets", 1 << 28)
    native = more.pop("native", False)
    shards = Shards(container, SHORT, octets, native)
    return BatchSettings(str(out), "shards", options, workers=1, shards=shards, **more)


def _make(source: Path, settings: BatchSettings) -> Summary:
    return run_batch(find_jobs([str(source)]), settings)


def _here(source: Path, settings: BatchSettings) -> list[Row]:
    """What a run makes, in this process: without the start of another one."""
    order, jobs = plan_of(find_jobs([str(source)]), settings)
    return list(run_share(jobs, order, Folder(Path(settings.place))))


def _samples(tar: Path) -> list[tuple[dict[str, Any], bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(tar) as file:
        for member in file:
            key, _, kind = member.name.partition(".")
            content = file.extractfile(member)
            assert content is not None
            found.setdefault(key, {})[kind] = content.read()
    assert all(sorted(parts) == ["json", "wav"] for parts in found.values())
    return [(json.loads(parts["json"]), parts["wav"]) for parts in found.values()]


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("[sr]*.[tp]ar*"))}


def test_samples_are_the_call_s_talk(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = _here(source, _settings(out))
    tar = out / "shard-000000.tar"
    assert [row.output for row in rows] == [f"shard-000000.tar#{Path(n).stem}" for n in CAPTURES]
    assert {(row.size, row.sha256) for row in rows} == {
        (tar.stat().st_size, hashlib.sha256(tar.read_bytes()).hexdigest())
    }
    samples = _samples(tar)
    assert len(samples) > len(CAPTURES)
    calls = {Path(name).stem: callreplay.open(SAMPLES / name)[0] for name in CAPTURES}
    for about, wav in samples:
        call = calls[about["name"]]
        with wave.open(io.BytesIO(wav)) as file:
            assert (file.getframerate(), file.getnchannels()) == (16000, 1)
            pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        assert len(pcm) == about["frames"] <= SHORT * 16000
        whole = call.mix(about["speaker"], rate=16000)
        first = round(about["start_s"] * 16000)
        assert np.array_equal(pcm, whole[first : first + len(pcm)])
        assert about["talk"]
        assert about[about["speaker"]] == call.party(about["speaker"])


@pytest.mark.parametrize(("channels", "width"), [("stereo", 2), ("mono", 1), ("caller", 1)])
def test_channels_and_rate_are_the_options(source: Path, tmp_path: Path, channels: str, width: int) -> None:
    out = tmp_path / "out"
    rows = _here(source, _settings(out, options=Options(channels=channels), native=True))
    assert not any(row.error for row in rows)
    samples = _samples(out / "shard-000000.tar")
    assert {about["sample_rate_hz"] for about, _ in samples} == {8000, 16000}
    for about, wav in samples:
        with wave.open(io.BytesIO(wav)) as file:
            assert (file.getframerate(), file.getnchannels()) == (about["sample_rate_hz"], width)
    if channels == "caller":
        assert {about["speaker"] for about, _ in samples} == {"caller"}


def test_parquet_has_a_column_that_datasets_reads_as_audio(source: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out"
    _here(source, _settings(out))
    _here(source, _settings(out, "parquet"))
    table = parquet.read_table(out / "shard-000000.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["audio"] == {"_type": "Audio"}
    assert set(features) == set(table.column_names)
    rows = table.to_pylist()
    tar = {about["key"]: wav for about, wav in _samples(out / "shard-000000.tar")}
    assert {row["key"]: row["audio"]["bytes"] for row in rows} == tar


def test_lhotse_finds_each_cut_s_recording_in_the_tar(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _here(source, _settings(out, "lhotse", options=Options(channels="stereo")))
    cuts = [json.loads(line) for line in (out / "cuts.000000.jsonl").read_text().splitlines()]
    with tarfile.open(out / "recording.000000.tar") as tar:
        names = tar.getnames()
        recordings = [json.load(tar.extractfile(name)) for name in names[1::2]]  # type: ignore[arg-type]
    assert names == [f"{cut['id']}.{kind}" for cut in cuts for kind in ("wav", "json")]
    assert recordings == [cut["recording"] for cut in cuts]
    for cut in cuts:
        assert (cut["type"], cut["channel"]) == ("MultiCut", [0, 1])
        for said in cut["supervisions"]:
            assert 0 <= said["start"] < said["start"] + said["duration"] <= cut["duration"] + 1e-6
            assert said["custom"]["side"] == ("caller", "called")[said["channel"]]


def test_a_run_goes_on_with_what_stands(source: Path, tmp_path: Path) -> None:
    """Through the whole engine: a shard a capture, then nothing, a new capture, a changed one, one that is gone."""
    out = tmp_path / "out"
    settings = _settings(out, octets=1 << 16)
    assert _make(source, settings).outputs == 3
    first = _digests(out)
    assert list(first) == ["shard-000000.tar", "shard-000001.tar", "shard-000002.tar"]
    summary = _make(source, settings)
    assert (summary.outputs, summary.skipped) == (0, 3)

    shutil.copy(source / "support.pcap", source / "another.pcap")
    (source / "wideband.pcapng").touch()
    (out / "shard-000000.tar").unlink()
    summary = _make(source, settings)
    assert (summary.outputs, summary.skipped, summary.errors) == (3, 1, 0)
    after = _digests(out)
    assert {name: after[name] for name in first} == first
    assert list(after)[3:] == ["shard-000003.tar"]


def test_a_changed_capture_does_not_cost_others_their_samples(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = _settings(out)
    order, jobs = plan_of(find_jobs([str(source)]), settings)
    rows = list(run_share(jobs, order, Folder(out)))
    (out / "manifest.jsonl").write_text("".join(json.dumps(_dict(row)) + "\n" for row in rows))
    before = _digests(out)
    (source / "support.pcap").touch()
    _, left = plan_of(find_jobs([str(source / "support.pcap")]), settings)
    assert [job.error for job in left] == [
        "shard-000000.tar holds captures that are not in this run, beside an older state of this one: name them all"
    ]
    _, left = plan_of(find_jobs([str(source)]), settings)
    assert [(job.name, len(job.members)) for job in left] == [("000000", 3)]
    # An unchanged one of them alone is whole, and one more capture makes a shard of its own.
    _, left = plan_of(find_jobs([str(source / "wideband.pcapng")]), settings)
    assert left == []
    assert _digests(out) == before


def _dict(row: Row) -> dict[str, Any]:
    return asdict(row)


def test_the_same_bytes_whatever_the_order_and_the_memory(source: Path, tmp_path: Path) -> None:
    """Samples that wait in a file are those that wait in memory."""
    order, jobs = plan_of(find_jobs([str(source)]), _settings(tmp_path / "one"))
    list(run_share(jobs, order, Folder(tmp_path / "one")))
    list(run_share(jobs, _with_memory(order, 1 << 16), Folder(tmp_path / "two")))
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")


def _with_memory(order: Any, octets: int) -> Any:
    return replace(order, memory=octets)


def test_bad_captures_cost_their_own_rows(source: Path, tmp_path: Path) -> None:
    (source / "broken.pcap").write_bytes(b"no capture at all")
    out = tmp_path / "out"
    rows = _here(source, _settings(out))
    errors = {row.output: row.error for row in rows if row.error}
    assert list(errors) == ["shard-000000.tar#broken"]
    assert len(_samples(out / "shard-000000.tar")) > 3
    only = _here(source / "broken.pcap", _settings(tmp_path / "none"))
    assert [row.output for row in only] == ["shard-000000.tar#broken"]
    assert not (tmp_path / "none" / "shard-000000.tar").exists()


class _Full(Folder):
    def create(self, name: str) -> Any:
        raise OSError(28, "No space left on device")


def test_a_shard_that_cannot_be_written_is_an_error_of_its_calls(source: Path, tmp_path: Path) -> None:
    order, jobs = plan_of(find_jobs([str(source)]), _settings(tmp_path / "out"))
    rows = list(run_share(jobs, order, _Full(tmp_path / "out")))
    assert len(rows) == 3
    assert all("No space left" in row.error and not row.size for row in rows)


def test_a_run_that_stops_early_leaves_no_shard(source: Path, tmp_path: Path) -> None:
    order, jobs = plan_of(find_jobs([str(source)]), _settings(tmp_path / "out"))

    class Dropped(Feed):
        given = False

        def more(self, wait: bool) -> list[Job] | None:
            if self.given:
                return None
            self.given = True
            return list(jobs)

        def dropped(self) -> bool:
            return self.given

    assert list(run_shards(Dropped(), order, Folder(tmp_path / "out"))) == []
    assert not list((tmp_path / "out").glob("*"))


def test_what_kills_a_shard_s_worker_is_found_by_halves(source: Path, tmp_path: Path) -> None:
    _, (job,) = plan_of(find_jobs([str(source)]), _settings(tmp_path / "out"))
    parts = halves(job)
    assert [part.name for part in parts] == ["000000-1", "000000-2"]
    assert [m for part in parts for m in part.members] == list(job.members)


def test_bad_settings() -> None:
    bad: list[dict[str, Any]] = [{"container": "zip"}, {"seconds": 0.5}, {"octets": 10}]
    for wrong in bad:
        with pytest.raises(ArgumentError):
            Shards(**wrong)


@pytest.mark.parametrize("most", [0, 1 << 20, 1 << 23, 1 << 30])
def test_pieces_wait_in_memory_and_in_a_file_alike(most: int) -> None:
    """Whatever the memory, the samples come back; memory of those taken or dropped is used again."""
    dice, longest = np.random.default_rng(most), 1 << 20
    with closing(_Spool(most, longest)) as spool:
        kept: list[tuple[_Kept, bytes]] = []
        for number in range(60):
            width = 1 + number % 2
            pcm = dice.integers(-(1 << 15), 1 << 15, (int(dice.integers(longest // 4)), width)).astype(
                np.int16
            )
            if number % 3 == 0:
                pcm = pcm[:, 0]  # lies apart
            cuts = sorted(int(cut) for cut in dice.integers(0, len(pcm) + 1, 2))
            kept.append((spool.put(np.split(pcm, cuts), number // 8), pcm.tobytes()))
            while len(kept) > 20:
                found, octets = kept.pop(int(dice.integers(len(kept))))
                if dice.random() < 0.2:
                    spool.drop(found)
                else:
                    assert bytes(spool.take(found)) == octets
        assert bytes(spool.take(spool.put([], 0))) == b""
        assert most == 1 << 23 or (spool._file is None) == (most == 1 << 30)
        for found, octets in kept:
            assert bytes(spool.take(found)) == octets
        for shelf in range(8):
            spool.clear(shelf)
        assert len(spool._free) * (8 << 20) <= most
        assert all(not slab.pieces and not slab.used for slab in spool._free)


def test_what_a_failed_call_left_takes_no_memory() -> None:
    with closing(_Spool(1 << 30, 1)) as spool:
        parts = _Parts(spool)
        with pytest.raises(OSError, match="lost"), parts.create("") as part:  # noqa: PT012
            part.samples.append((0.0, {"key": "k"}, b"", spool.put([np.ones(4_000_000, np.int16)], 7)))
            part.samples.append((0.0, {"key": "l"}, b"", spool.put([np.ones(4_000_000, np.int16)], 7)))
            raise OSError("lost")
        assert not part.samples
        spool.clear(7)
        assert len(spool._free) == 2


def test_short_calls_go_before_the_long_ones_of_later_shards() -> None:
    """Else each shard waits for its short ones until no more come, with what it has of others in the way."""

    def jobs(*sizes: int) -> list[Job]:
        return [Job((f"{size}.pcap",), str(size), size=size) for size in sizes]

    with closing(_Spool(0, 1)) as spool:
        order, _ = plan_of([], _settings(Path("out")))
        assert order.shards is not None
        work = _ShardWork(_Members(Feed()), order, order.shards, spool)
        for shard in (jobs(3, 5, 4), jobs(9, 1, 7)):
            work._take_on(shard)
    assert [job.size for job in work.waiting] == [5, 4, 3, 9, 7, 1]
