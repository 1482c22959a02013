import json
import platform
from pathlib import Path
from typing import Any

import pytest

from bench import compare, plot


def _run(**rows: dict[str, Any]) -> dict[str, Any]:
    return {"benches": {"codecs": [{"name": name, **row} for name, row in rows.items()]}}


@pytest.mark.parametrize(
    ("old", "new", "loss"),
    [
        ({"ratio": 10.0}, {"ratio": 9.5}, False),
        ({"ratio": 10.0}, {"ratio": 8.5}, True),
        ({"ratio": 10.0, "noise": 0.04}, {"ratio": 8.5, "noise": 0.04}, False),
        ({"ratio": 3.0, "bar_kind": "at_most"}, {"ratio": 3.6, "bar_kind": "at_most"}, True),
        ({"ratio": 3.0, "bar_kind": "at_most"}, {"ratio": 2.0, "bar_kind": "at_most"}, False),
    ],
)
def test_a_loss_beyond_tolerance_and_noise_is_found(
    old: dict[str, Any], new: dict[str, Any], loss: bool
) -> None:
    (row,) = compare.compare(_run(x=old), _run(x=new))
    assert row["loss"] is loss


def test_rows_without_a_ratio_are_left_out() -> None:
    assert compare.compare(_run(x={"cpu_s": 1.0}), _run(x={"cpu_s": 2.0})) == []


def test_shares_of_the_bars_are_drawn_over_the_runs(tmp_path: Path) -> None:
    for number, ratio in enumerate((8.0, 12.0)):
        run = _run(
            x={"ratio": ratio, "bar": 10.0},
            y={"ratio": 3.0, "bar": 6.0, "bar_kind": "at_most"},
            z={"ratio": 2.0},
        )
        run["machine"] = {"time": f"2026-01-0{2 - number}", "commit": f"c{number}"}
        (tmp_path / f"{number}.json").write_text(json.dumps(run))
    runs = [json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1)]
    assert plot.shares(runs) == {"codecs: x": [0.8, 1.2], "codecs: y": [2.0, 2.0]}
    out = tmp_path / "x.png"
    assert plot.main([*(str(tmp_path / f"{number}.json") for number in (0, 1)), "-o", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def _on(processor: str, ratio: float) -> dict[str, Any]:
    run = _run(x={"ratio": ratio, "bar": 10.0})
    run["machine"] = {
        "processor": processor,
        "isa": "avx512",
        "cores": 2,
        "time": "2026-01-01",
        "commit": "c",
    }
    return run


def test_runs_of_two_processors_are_kept_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, processor, ratio in (("old", "one", 8.0), ("new", "other", 12.0), ("later", "other", 11.9)):
        (tmp_path / name).write_text(json.dumps(_on(processor, ratio)))
    assert compare.main([str(tmp_path / "old"), str(tmp_path / "new")]) == 2
    assert "two machines" in capsys.readouterr().err
    assert compare.main([str(tmp_path / "new"), str(tmp_path / "later")]) == 0
    found = plot.shares([_on("one", 8.0), _on("other", 12.0)])
    assert sorted(found.values(), key=str) == [[0.8, None], [None, 1.2]]
    assert all(name.startswith("codecs: x (") for name in found)


def test_what_the_pipeline_is_measured_by_can_be_made(tmp_path: Path) -> None:
    from bench import pipeline

    assert pipeline._calls(tmp_path / "in", [1.0, 2.0], loss=0.1, ppm=40.0) == 3.0
    assert len(list((tmp_path / "in").iterdir())) == 2
    assert (max(pipeline.LOSSES), pipeline.OCCUPANCY[-1]) == (0.20, 64)


def test_the_spread_of_repeats_is_the_noise_and_the_machine_tells_its_flags() -> None:
    from bench import batch, run

    assert batch._spread([1.0, 1.25, 1.1]) == pytest.approx(0.25)
    assert {codec for codec, form in batch.BARS if form == "png"} == set(batch.CODECS)
    machine = run.machine()
    assert isinstance(machine["flags"], list)
    assert not {"node", "host", "hostname"} & set(machine)
    assert platform.node() not in json.dumps(machine)
