"""The notebook of the documentation runs from its first cell to its last, and prints what it shows."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "tutorials" / "talk-time.ipynb"
MARK = "=== the next cell ==="

pytestmark = pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed here")


def _cells() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def _pixels(data: bytes | Path) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        return np.asarray(image.convert("RGB"), np.int16)


def test_the_notebook_runs_and_shows_what_came_of_it(tmp_path: Path) -> None:
    """All cells in one process of their own, as a kernel runs them; then outputs and picture against those stored."""
    (tmp_path / "captures").mkdir()
    for sample in (ROOT / "samples").glob("*.pcap*"):
        shutil.copy(sample, tmp_path / "captures")
    cells = _cells()
    program = f"\nprint({MARK!r})\n".join("".join(cell["source"]) for cell in cells)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(f"{MARK}\n")
    stored = ["".join(out["text"]) for cell in cells for out in cell["outputs"] if "text" in out]
    assert [each for each in printed if each] == stored
    [picture] = [out["data"]["image/png"] for cell in cells for out in cell["outputs"] if "data" in out]
    made, kept = _pixels(tmp_path / "talk-time.png"), _pixels(base64.b64decode(picture))
    assert made.shape == kept.shape
    for colour in ((0x00, 0x79, 0x6B), (0xEF, 0x6C, 0x00), (0xD7, 0xDC, 0xDB)):  # caller, called, silence
        area, shown = (np.abs(pixels - colour).max(axis=2) < 8 for pixels in (made, kept))
        assert area.sum() > 4000
        assert (area != shown).sum() < 0.05 * area.sum()  # fonts differ, bars do not
