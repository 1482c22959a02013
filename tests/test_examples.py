"""Every example that a reader may copy runs: the docstrings' and the README's."""

import doctest
import importlib
import pkgutil
import re
import wave
from pathlib import Path

import pytest

import callreplay

ROOT = Path(__file__).resolve().parents[1]
SOURCES = Path(callreplay.__file__).parent


def _modules() -> list[str]:
    """Modules with an example; no other is imported."""
    found = pkgutil.walk_packages([str(SOURCES)], "callreplay.")
    names = ["callreplay", *(module.name for module in found)]
    paths = {name: SOURCES.parent.joinpath(*name.split(".")) for name in names}
    return [
        name
        for name, path in paths.items()
        for file in (path.with_suffix(".py"), path / "__init__.py")
        if file.is_file() and ">>> " in file.read_text()
    ]


@pytest.mark.parametrize("name", _modules())
def test_examples_of_docstrings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("name", ["open", "Capture", "Call", "Leg", "decode_many"])
def test_the_public_api_has_examples(name: str) -> None:
    assert ">>> " in (getattr(callreplay, name).__doc__ or "")


def test_the_readme_s_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    with wave.open(str(tmp_path / "call.wav")) as written:
        assert written.getnframes() == 159_520
    assert 4.0 < float(capsys.readouterr().out) < 4.5
