"""A stranger's Cython module, compiled against the installed package: the example of the docs, as it stands."""

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import callreplay
from callreplay.audio.decode import decode_leg
from callreplay.codecs import STATIC
from callreplay.model import Span
from tests import laws

DOCS = Path(__file__).resolve().parent.parent / "docs" / "embedding-cython.md"


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("stranger")
    found = re.search(r"```cython\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert found is not None
    (folder / "stranger.pyx").write_text(found[1], "utf-8")
    package = Path(callreplay.__file__).parent
    subprocess.run(
        [sys.executable, "-m", "cython", "-3", "-I", str(package.parent), "stranger.pyx"],
        cwd=folder, check=True,
    )  # fmt: skip
    target = folder / f"stranger{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-I", str(package / "include"),
         "-I", sysconfig.get_path("include"), "stranger.c", "-o", str(target)],
        cwd=folder, check=True,
    )  # fmt: skip
    spec = importlib.util.spec_from_file_location("stranger", target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_stranger_decodes_what_we_decode(stranger: ModuleType) -> None:
    octets = np.random.default_rng(1).integers(0, 256, 4000, np.uint8).tobytes()
    leg = laws.make_leg([(0, 0, octets, 0)], [Span(STATIC[0], 0, 1, 0, 0, 0, 0, len(octets))])
    out = np.zeros(len(octets), np.int16)
    assert stranger.decode(octets, out) == len(octets)
    assert np.array_equal(out, decode_leg(leg))
    again = np.zeros(len(octets), np.int16)
    stranger.ulaw(octets, again)
    assert np.array_equal(again, out)


def test_a_stranger_runs_without_the_gil(stranger: ModuleType) -> None:
    octets = bytes(range(256)) * 20_000
    out = np.zeros(len(octets), np.int16)
    laws.gil_is_released(lambda: stranger.ulaw(octets, out))


def test_work_that_holds_the_gil_is_told_from_work_that_does_not() -> None:
    with pytest.raises(AssertionError):
        laws.gil_is_released(lambda: sum(range(100_000)), patience=0.3)
