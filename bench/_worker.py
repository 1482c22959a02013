"""CPU seconds of a worker of a batch alone: captures in, outputs on the disk, without the start of a run or its parent.

What losses, clocks, lengths and lanes cost is hidden by half a second of two processes' imports, unless calls are many.
The worker has a process of its own, so that an instruction set can be forced, and takes folders in turns, so that what
else the machine does meets all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench._captures import put_away
from callreplay.batch import find_jobs
from callreplay.batch.destinations import open_destination
from callreplay.batch.worker import Order, run_share
from callreplay.outputs.options import Options

ROOT = Path(__file__).parents[1]


def times(
    folders: Sequence[Path], *, form: str = "wav", isa: str = "", repeats: int = 3, warm: bool = True
) -> list[list[float]]:
    """Of each folder, the CPU seconds of each pass over its captures; ``warm``: after one that is not counted."""
    command = [sys.executable, "-m", "bench._worker", form, str(repeats), str(int(warm)), *map(str, folders)]
    environment = os.environ | ({"CALLREPLAY_SIMD": isa} if isa else {})
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the worker failed: {done.stderr}")
    return [[float(each) for each in taken] for taken in json.loads(done.stdout)]


def _pass(folder: str, form: str) -> float:
    jobs = find_jobs([folder])
    out = Path(tempfile.mkdtemp(dir=Path(folder).parent))
    before = time.process_time()
    for row in run_share(jobs, Order(form, Options()), open_destination(out)):
        if row.error:
            raise SystemExit(f"{row.input}: {row.error}")
    taken = time.process_time() - before
    put_away(out)
    return taken


def main(form: str, repeats: str, warm: str, *folders: str) -> None:
    """Print the times of each folder as JSON."""
    if int(warm):
        for folder in folders:
            _pass(folder, form)
    taken = [[_pass(folder, form) for folder in folders] for _ in range(int(repeats))]
    print(json.dumps(list(zip(*taken, strict=True))))


if __name__ == "__main__":
    main(*sys.argv[1:])
