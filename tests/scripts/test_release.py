"""scripts/release --check: a version of one place, notes, a free tag, whole files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import callreplay

ROOT = Path(__file__).resolve().parents[2]
NOTES = "What it is, in so many words that anybody who reads them learns what there is to be had. " * 2


def check(tree: Path, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, tree / "scripts" / "release", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )


def git(tree: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "-C", tree, *who, *words], check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with what the script reads, committed, and files of its version that are not whole."""
    made = tmp_path / "tree"
    for name in ("scripts/release", "src/callreplay/_version.py"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, made / name)
    (made / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## [Unreleased]\n\n## [{callreplay.__version__}] - 2026-01-01\n{NOTES}\n"
    )
    git(made, "init", "-q")
    git(made, "add", "-A")
    git(made, "commit", "-qm", "x")
    return made


def _version(tree: Path) -> None:
    (tree / "src" / "callreplay" / "_version.py").write_text('__version__ = "one"\n')


def _no_notes(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [0.0.1]\nx\n")


def _few_notes(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## [Unreleased]\n\n## [{callreplay.__version__}]\nNew.\n"
    )


def _no_unreleased(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{callreplay.__version__}]\n{NOTES}\n")


def _taken_tag(tree: Path) -> None:
    git(tree, "tag", f"v{callreplay.__version__}")
    git(tree, "commit", "-q", "--allow-empty", "-m", "later")


def _uncommitted(tree: Path) -> None:
    (tree / "more").write_text("")


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (_version, "must be one line"),
        (_no_notes, f"has no section [{callreplay.__version__}]"),
        (_few_notes, "says next to nothing"),
        (_no_unreleased, "first section must be [Unreleased]"),
        (_taken_tag, "was released, raise the version"),
        (_uncommitted, "not committed: ?? more"),
    ],
)
def test_what_is_no_release(tree: Path, spoil: Callable[[Path], None], wanted: str) -> None:
    spoil(tree)
    done = check(tree, "--check", "--dist", tree.parent / "none")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert wanted in done.stderr


def test_files_of_another_version(tree: Path, tmp_path: Path) -> None:
    for name in ("callreplay-9.9.9.tar.gz", "callreplay-9.9.9-cp311-cp311-linux_x86_64.whl"):
        (tmp_path / name).write_bytes(b"")
    done = check(tree, "--check", "--dist", tmp_path)
    assert f"callreplay-9.9.9.tar.gz is not version {callreplay.__version__}" in done.stderr


def test_this_tree_has_one_version_and_its_notes() -> None:
    """That of the real one; what is built is checked in tests/test_wheel.py."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{callreplay.__version__}]" in text
    said = [
        path.relative_to(ROOT)
        for pattern in (
            "pyproject.toml",
            "CMakeLists.txt",
            "src/**/*.py",
            "native/**/*.h",
            "deploy/**/*",
            "mkdocs.yml",
        )
        for path in ROOT.glob(pattern)
        if path.is_file() and f'"{callreplay.__version__}"' in path.read_text(encoding="utf-8")
    ]
    assert said == [Path("src/callreplay/_version.py")]
