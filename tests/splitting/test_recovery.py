"""A recorder that is killed, anywhere: nothing that was synced is lost, and nothing is there twice."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.captures import Record, pcap
from tests.importing.test_rotation import call
from tests.splitting.splits import calls, read_groups, spooled, start, whole

from callreplay.errors import OutputError
from callreplay.splitting import recovery


def records() -> list[Record]:
    made = [record for number in range(6) for record in call(number, 900 * number, 4)]
    return sorted(made + [record for record in call(9, 100, 3) if b"SIP/2.0" not in record[1]])


def whole_calls(tmp_path: Path) -> list[tuple[object, ...]]:
    path = tmp_path / "whole.pcap"
    path.write_bytes(pcap(records()))
    return calls([whole(path)])


@pytest.mark.parametrize("kills", [1, 4])
def test_a_recorder_that_was_killed_goes_on(kills: int, tmp_path: Path) -> None:
    """Each process splits a piece and vanishes without a word, but for what it had flushed."""
    every = records()
    bounds = np.linspace(0, len(every), kills + 2).astype(int)
    closed = {}
    for first, last in pairwise(bounds.tolist()):
        spooler, found = start(tmp_path / "spools")
        spooled(spooler, pcap(every[first:last]))
        spooler.flush()
        closed.update({one.note: one for one in found})
    spooler.finish()
    closed.update({one.note: one for one in found})
    assert calls(read_groups(closed.values())) == whole_calls(tmp_path)
    for one in closed.values():
        recovery.discard(one)
    left = [path for path in (tmp_path / "spools").rglob("*") if path.is_file() and path.name != "lock"]
    assert [path for path in left if path.parent.name != "closed"] == []


def test_what_was_not_flushed_is_all_that_is_lost(tmp_path: Path) -> None:
    every = records()
    spooler, _ = start(tmp_path / "spools")
    half = len(every) // 2
    spooled(spooler, pcap(every[:half]))
    spooler.flush()
    spooled(spooler, pcap(every[half : half + 100]))  # killed before the next flush
    spooler, found = start(tmp_path / "spools")
    spooled(spooler, pcap(every[half:]))
    spooler.finish()
    assert calls(read_groups(found)) == whole_calls(tmp_path)


@pytest.mark.parametrize("step", ["replaying", "replayed", "half removed"])
def test_a_start_that_is_killed_is_begun_anew(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = records()
    folder = tmp_path / "spools"
    spooler, _ = start(folder)
    half = len(every) // 2
    spooled(spooler, pcap(every[:half]))
    spooler.flush()

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "replaying":
            patch.setattr(recovery, "_sync_folder", kill)
            patch.setattr(Path, "rename", lambda self, target: kill() if self.name == "replaying" else None)
        elif step == "replayed":
            patch.setattr(recovery, "_sync_folder", kill)
        else:
            unlink, count = Path.unlink, [0]

            def some(self: Path, missing_ok: bool = False) -> None:
                count[0] += 1
                if count[0] > 3:
                    raise Killed
                unlink(self, missing_ok)

            patch.setattr(Path, "unlink", some)
        with pytest.raises(Killed):
            start(folder)
    spooler, found = start(folder)
    spooled(spooler, pcap(every[half:]))
    spooler.finish()
    assert calls(read_groups(found)) == whole_calls(tmp_path)


def test_notes_that_are_cut_or_whose_files_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "spools"
    spooler, _ = start(folder)
    spooled(spooler, pcap(records()))
    spooler.finish()
    notes = sorted((folder / "closed").glob("*.json"))
    content = json.loads(notes[0].read_text())
    notes[0].write_text(notes[0].read_text()[:-5])
    notes[1].with_suffix(".json").write_text(json.dumps({"files": ["open-1/gone.pcapng"]}))
    done = notes[2].with_suffix(".done")  # killed between the note and the files
    files = json.loads(notes[2].read_text())["files"]
    notes[2].rename(done)
    spooler, found = start(folder)
    assert not any((folder / name).exists() for name in files)
    spooler.finish()
    assert (
        len(found) == len(notes) - 1
    )  # the two whose notes were lost are split again, the third was imported
    assert all(path.exists() for one in found for path in one.files)
    assert not (folder / content["files"][0]).exists()


def test_a_file_that_was_cut_gives_what_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "spools"
    spooler, _ = start(folder)
    spooled(spooler, pcap(sorted(call(1, 0, 4))[:-1]))
    spooler.flush()
    (path,) = spooler.open_folder.glob("*.pcapng")
    path.write_bytes(path.read_bytes()[:-70])
    (folder / "open-1" / "strange.pcapng").write_bytes(b"no capture")
    spooler, found = start(folder)
    spooler.finish()
    (read,) = read_groups(found)
    assert sum(len(leg.rows) for leg in read.calls[0].legs) in (398, 399, 400)


def test_blocks_that_never_reached_the_disk_cost_what_lay_in_them(tmp_path: Path) -> None:
    """After a loss of power the end of a file may be zeros: the calls of other files are whole."""
    spooler, _ = start(tmp_path / "spools")
    spooled(spooler, pcap(sorted(call(1, 0, 4, bye=False) + call(2, 10, 4, bye=False))))
    spooler.flush()
    one, _ = sorted(spooler.open_folder.glob("*.pcapng"))
    data = one.read_bytes()
    one.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    spooler, found = start(tmp_path / "spools")
    spooler.finish()
    heard = sorted(
        sum(len(leg.rows) for leg in each.legs) for read in read_groups(found) for each in read.calls
    )
    assert len(heard) == 2
    assert heard[1] == 400
    assert 150 < heard[0] < 250


def test_records_larger_than_a_piece_are_joined(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.pcap").write_bytes(pcap(sorted(call(number, 0, 1))))
    (tmp_path / "strange.pcap").write_bytes(b"no capture")
    paths = sorted(tmp_path.glob("*.pcap"))
    at_once = b"".join(piece.tobytes() for piece in recovery.merged(paths))
    assert b"".join(piece.tobytes() for piece in recovery.merged(paths, 64)) == at_once
    assert len(at_once) > 200 * 172


def test_one_recorder_a_folder(tmp_path: Path) -> None:
    with (
        recovery.locked(tmp_path),
        pytest.raises(OutputError, match="another recorder"),
        recovery.locked(tmp_path),
    ):
        pass
    with recovery.locked(tmp_path):
        pass
    shutil.rmtree(tmp_path)
