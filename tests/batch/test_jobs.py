"""What a batch is asked to do: names, listings, and manifests that are wrong."""

import json
import time
from pathlib import Path

from callreplay.batch import find_jobs


def _manifest(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_many_equal_names_take_no_longer_than_others(tmp_path: Path) -> None:
    rows = [{"path": f"{number}/audio.pcap"} for number in range(20_000)]
    equal = _manifest(tmp_path / "equal.jsonl", *rows)
    others = _manifest(tmp_path / "others.jsonl", *({**row, "name": row["path"]} for row in rows))
    began = time.process_time()
    find_jobs([others])
    between = time.process_time()
    jobs = find_jobs([equal])
    assert time.process_time() - between < 5 * (between - began)  # fifty times, when each tries all numbers
    assert [job.name for job in jobs] == ["audio", *(f"audio~{number}" for number in range(2, 20_001))]


def test_names_given_before_are_passed_over(tmp_path: Path) -> None:
    names = ["x", "x~3", "x", "x", "x", "x-2", "x-2", "x~2"]
    jobs = find_jobs([_manifest(tmp_path / "rows.jsonl", *({"path": "a", "name": name} for name in names))])
    assert [job.name for job in jobs] == ["x", "x~3", "x~2", "x~4", "x~5", "x-2~2", "x-2~3", "x~2~2"]
