"""The examples of docs/embedding.md, run as they stand."""

import asyncio
import re
import runpy
import subprocess
import sys
import wave
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import callreplay

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = ROOT / "samples" / "support.pcap"


@pytest.fixture
def example(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The example of the name that the test is marked with, as a file."""
    name = str(request.param)
    text = (ROOT / "docs" / "embedding.md").read_text("utf-8")
    (body,) = re.findall(rf"```python\n(# {re.escape(name)}\b.*?)```", text, re.DOTALL)
    (tmp_path / name).write_text(body, "utf-8")
    return tmp_path / name


def _run(script: Path, *arguments: object) -> str:
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)], check=True, capture_output=True, text=True
    ).stdout


def _blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "embedding.md").read_text("utf-8"), re.DOTALL)


NAMED = ("script.py", "loop.py", "picture.py", "column.py", "service.py")


def test_every_block_is_run_by_a_test() -> None:
    named = {block.split()[1] for block in _blocks() if re.match(r"# \w+\.py\b", block)}
    assert named == set(NAMED)
    source = Path(__file__).read_text("utf-8")
    for name in NAMED:
        assert f'"example", ["{name}"]' in source


def test_the_guide_runs_from_its_first_block_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "call.pcap").write_bytes((ROOT / "samples" / "reservation.pcap").read_bytes())
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "guide"}
    blocks = [block for block in _blocks() if not re.match(r"# \w+\.py\b", block)]
    assert len(blocks) >= 11
    for block in blocks:
        exec(compile(block, "docs/embedding.md", "exec"), space)
    said = capsys.readouterr().out
    assert "Ana Pop <0721555010> Front Desk <2001> 2026-01-06T08:30:01 19.94" in said
    assert "channels must be mono, stereo, caller or called, not 'steroe'" in said
    assert "20 blocks of 16000" in said


@pytest.mark.parametrize("example", ["service.py"], indirect=True)
def test_the_service_mounted(example: Path, tmp_path: Path) -> None:
    """It opens at its first request, so that here it is only mounted; tests/service asks it."""
    pytest.importorskip("fastapi")
    example.write_text(example.read_text("utf-8").replace("/srv/callreplay", str(tmp_path)), "utf-8")
    space = runpy.run_path(str(example))
    (mount,) = [route for route in space["app"].routes if getattr(route, "path", "") == "/telephony"]
    assert mount.app is space["recorder"]


@pytest.mark.parametrize("example", ["script.py"], indirect=True)
def test_a_plain_script(example: Path, tmp_path: Path) -> None:
    said = _run(example, tmp_path / "out", CAPTURE, tmp_path / "absent.pcap")
    assert "absent.pcap" in said
    assert f"{CAPTURE} support.wav: " in said
    with wave.open(str(tmp_path / "out" / "support.wav")) as made:
        assert made.getnchannels() == 2


@pytest.mark.parametrize("example", ["loop.py"], indirect=True)
def test_asyncio(example: Path) -> None:
    said = re.fullmatch(rf"{re.escape(str(CAPTURE))} (\d+) octets\n", _run(example, CAPTURE))
    assert said is not None
    with callreplay.open(CAPTURE) as capture:
        assert int(said[1]) == len(b"".join(capture.calls[0].stream("spx", quality=6)))


@pytest.mark.parametrize("example", ["picture.py"], indirect=True)
def test_fastapi(example: Path) -> None:
    pytest.importorskip("fastapi")
    import httpx

    app = runpy.run_path(str(example))["app"]

    async def post(body: bytes) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.post("/picture", content=body)

    made = asyncio.run(post(CAPTURE.read_bytes()))
    assert made.status_code == 200
    with callreplay.open(CAPTURE) as capture:
        assert made.content == b"".join(capture.calls[0].stream("png"))
    refused = asyncio.run(post(b"no capture"))
    assert refused.status_code == 422
    assert refused.json()["detail"]


@pytest.mark.parametrize("example", ["column.py"], indirect=True)
def test_a_function_of_pyarrows(example: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    runpy.run_path(str(example))
    column = pa.array([str(CAPTURE), str(tmp_path / "absent.pcap"), str(CAPTURE)])
    one, none, other = pc.call_function("callreplay_wav", [column]).to_pylist()
    assert none is None
    assert one == other
    with wave.open(BytesIO(one)) as made:
        assert made.getframerate() == 8000
        assert np.frombuffer(made.readframes(made.getnframes()), np.int16).any()
