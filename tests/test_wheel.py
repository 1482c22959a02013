"""The wheel: what is in it, and that it works where there is no compiler."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import callreplay

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = ("tests/", "bench/", "peers", ".pyx", ".cpp", "bcg729", "spandsp")


def _sdist(folder: Path) -> Path:
    script = (
        f"import os; os.chdir({str(ROOT)!r}); from scikit_build_core.build import build_sdist; "
        f"print(build_sdist({str(folder)!r}))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    (archive,) = folder.glob("callreplay-*.tar.gz")
    return archive


def _run(command: list[str | Path], options: str = "", **more: str) -> str:
    """A script of deploy/docker with the Python of this environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": path, "CALLREPLAY_PIP_OPTIONS": options, **more},
    )
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution: what that leaves out is missed here."""
    folder = tmp_path_factory.mktemp("wheel")
    command: list[str | Path] = [
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, _sdist(folder),
    ]  # fmt: skip
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        command, check=True, env={**os.environ, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    )
    (found,) = folder.glob("callreplay-*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_what_it_should(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if any(part in name for part in FORBIDDEN)]
    for needed in (
        "callreplay/py.typed",
        "callreplay/capi.pxd",
        "callreplay/_core.pyi",
        "callreplay/include/callreplay/callreplay.h",
        "callreplay/service/templates/base.html",
        "callreplay/store/migrations/env.py",
        "callreplay/store/migrations/versions/0001_schema.sql",
        "callreplay/service/locales/de.po",
        "callreplay/samples/support.pcap",
    ):
        assert needed in names, needed
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.startswith("callreplay/_core.cpython") for name in names)


@pytest.mark.slow
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
@pytest.mark.skipif("CALLREPLAY_INSTALL" not in os.environ, reason="CALLREPLAY_INSTALL: takes minutes")
def test_a_release_of_these_files_would_be_whole(wheel: Path) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "release", "--check", "--dist", wheel.parent],
        check=False, capture_output=True, text=True, env={**os.environ, "CALLREPLAY_RELEASE_DIRTY": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert wheel.name in done.stdout.splitlines()[0]


@pytest.mark.slow
@pytest.mark.skipif("CALLREPLAY_INSTALL" not in os.environ, reason="CALLREPLAY_INSTALL: takes minutes")
def test_the_wheel_installs_as_an_image_has_it(wheel: Path, tmp_path: Path) -> None:
    """The script itself; what it would fetch is of this environment."""
    site = next(p for p in sys.path if p.endswith("site-packages"))
    install: list[str | Path] = [ROOT / "deploy" / "docker" / "install-wheel", wheel.parent, tmp_path / "opt"]
    assert _run(install, "--no-deps --no-index", PYTHONPATH=site) == f"callreplay {callreplay.__version__}\n"
    assert list((tmp_path / "opt").glob("lib/python3*/site-packages/callreplay/capi.pxd"))


@pytest.mark.slow
@pytest.mark.skipif(
    "CALLREPLAY_INSTALL" not in os.environ, reason="CALLREPLAY_INSTALL: asks the package index"
)
def test_the_wheel_installs_with_what_it_depends_on(wheel: Path, tmp_path: Path) -> None:
    programs = tmp_path / "venv" / "bin"
    install: list[str | Path] = [
        ROOT / "deploy" / "docker" / "install-wheel",
        wheel.parent,
        tmp_path / "venv",
    ]
    _run(install, "--only-binary :all:", CALLREPLAY_EXTRAS="service,batch")
    clean = {"PATH": "/nonexistent"}
    for command in (
        ["transcode", ROOT / "samples" / "support.pcap", "-o", tmp_path / "x.spx"],
        ["batch", ROOT / "samples", "-o", tmp_path / "out", "--workers", "1"],
        ["serve", "--help"],
    ):
        subprocess.run(
            [programs / "callreplay", *command], check=True, capture_output=True, cwd=tmp_path, env=clean
        )
    assert (tmp_path / "x.spx").read_bytes().startswith(b"OggS")
    assert len(list((tmp_path / "out").glob("*.wav"))) == 3
    script = "from pathlib import Path; from callreplay.cli.serve import samples_folder; print(samples_folder('auto'))"
    done = subprocess.run(
        [programs / "python", "-c", script], check=True, capture_output=True, text=True, env=clean
    )
    assert len(list(Path(done.stdout.strip()).glob("*.pcap*"))) == 3


_IDENTIFIERS = """
import sys
from cibuildwheel.__main__ import main
for words in list(sys.argv[2:]):
    system, machine = words.split()
    sys.argv[1:] = ["--print-build-identifiers", "--platform", system, "--archs", machine, ROOT]
    print("#", words, flush=True)
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
""".replace("ROOT", repr(str(ROOT)))


def test_cibuildwheel_understands_its_configuration() -> None:
    pytest.importorskip("cibuildwheel")
    asked = ["linux x86_64", "linux aarch64", "macos arm64", "macos x86_64"]
    # One process for all: it takes longer to start than to answer.
    command = [sys.executable, "-c", _IDENTIFIERS, "-", *asked]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answers = done.stdout.split("# ")[1:]
    assert len(answers) == len(asked)
    for words, answer in zip(asked, answers, strict=True):
        said, *built = answer.splitlines()
        assert said == words
        assert {name.split("-")[0] for name in built} == {"cp311", "cp312", "cp313", "cp314", "cp314t"}, (
            done.stderr
        )
        assert bool([name for name in built if "musllinux" in name]) == words.startswith("linux")


@pytest.mark.slow
def test_the_source_distribution_is_whole_and_lean(tmp_path: Path) -> None:
    with tarfile.open(_sdist(tmp_path)) as found:
        names = [name.split("/", 1)[1] for name in found.getnames() if "/" in name]
    for needed in (
        "CMakeLists.txt",
        "native/CMakeLists.txt",
        "src/callreplay/packets/scanner.pyx",
        "LICENSE",
        "README.md",
        "deploy/docker/install-wheel",
        "mkdocs.yml",
    ):
        assert needed in names, needed
    assert not [name for name in names if name.startswith(("tests/", "bench/", ".ci/"))]
