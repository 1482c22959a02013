"""The wheel: what is in it, and that it works where there is no compiler."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = ("tests/", "bench/", "peers", ".pyx", ".cpp", "bcg729", "spandsp")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        ROOT,
    ]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        command, check=True, env={**os.environ, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    )
    (found,) = folder.glob("callreplay-*.whl")
    return found


@pytest.mark.slow
@pytest.mark.serial
def test_the_wheel_holds_what_it_should(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if any(part in name for part in FORBIDDEN)]
    for needed in (
        "callreplay/py.typed",
        "callreplay/capi.pxd",
        "callreplay/_core.pyi",
        "callreplay/include/callreplay/callreplay.h",
        "callreplay/service/templates/base.html",
        "callreplay/calls/migrations/env.py",
    ):
        assert needed in names, needed
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.startswith("callreplay/_core.cpython") for name in names)


@pytest.mark.slow
@pytest.mark.serial
def test_the_wheel_transcodes_where_nothing_can_compile(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    # What the wheel depends on comes from this environment, behind the wheel's own files on the path.
    (site / "dependencies.pth").write_text(next(p for p in sys.path if p.endswith("site-packages")) + "\n")
    out = tmp_path / "x.wav"
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-c",
         "import callreplay; print(callreplay.__file__); from callreplay.cli import main; main()",
         "transcode", ROOT / "samples" / "support.pcap", "-o", out],
        check=True, capture_output=True, text=True, cwd=tmp_path, env={"PATH": "/nonexistent"},
    )  # fmt: skip
    assert done.stdout.startswith(str(site))
    assert out.stat().st_size > 100_000


@pytest.mark.slow
@pytest.mark.serial
def test_the_source_distribution_is_whole_and_lean(tmp_path: Path) -> None:
    script = (
        f"import os; os.chdir({str(ROOT)!r}); from scikit_build_core.build import build_sdist; "
        f"print(build_sdist({str(tmp_path)!r}))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    (archive,) = tmp_path.glob("callreplay-*.tar.gz")
    with tarfile.open(archive) as found:
        names = [name.split("/", 1)[1] for name in found.getnames() if "/" in name]
    for needed in (
        "CMakeLists.txt",
        "native/CMakeLists.txt",
        "src/callreplay/packets/scanner.pyx",
        "LICENSE",
        "README.md",
    ):
        assert needed in names, needed
    assert not [name for name in names if name.startswith(("tests/", "bench/", ".ci/"))]
