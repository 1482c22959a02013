"""The examples of docs/datasets.md run, each where what it reads with is installed."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from callreplay.batch import BatchSettings, Shards, find_jobs, run_batch

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "datasets.md").read_text(), re.DOTALL)
SAMPLES = [str(path) for path in sorted((ROOT / "samples").iterdir()) if path.suffix in (".pcap", ".pcapng")]
KNOWN = {"webdataset", "datasets", "lhotse", "pyarrow", "polars", "pandas", "ray", "torch"}


def _needs(block: str) -> set[str]:
    found = {
        name.split(".")[0] for name in re.findall(r"^(?:import|from) (\S+)", block, re.MULTILINE)
    } & KNOWN
    return found | {"pandas"} if "ray.data" in block else found  # which Ray Data needs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three containers, of the samples."""
    folder = tmp_path_factory.mktemp("sets")
    for container, name in (("webdataset", "set"), ("parquet", "parquet"), ("lhotse", "lhotse")):
        settings = BatchSettings(str(folder / name), "shards", workers=1, shards=Shards(container, 10.0))
        assert not run_batch(find_jobs(SAMPLES), settings).errors
    return folder


def test_every_library_has_a_block() -> None:
    assert set().union(*map(_needs, BLOCKS)) == KNOWN


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: "-".join(sorted(_needs(block))))
@pytest.mark.filterwarnings("default")
def test_examples(
    block: str, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [name for name in sorted(_needs(block)) if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    monkeypatch.chdir(made)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(made / "hf"))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    try:
        exec(compile(block, "datasets.md", "exec"), {"paths": SAMPLES})
    finally:
        if "ray" in sys.modules and "ray" in _needs(block):
            sys.modules["ray"].shutdown()
    assert capsys.readouterr().out.strip()
