"""What deploy/ has for systemd, Docker and Prometheus: read by their own programs where these are there, by us else."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from callreplay.cli.app import build
from callreplay.service.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("callreplay*.service"))
INSTALLED = "/opt/callreplay/bin/callreplay"
OWN = {"CALLREPLAY_INTERFACE", "CALLREPLAY_SPOOL", "CALLREPLAY_BACKUP"}  # the units' own, not settings
BUILD = {"CALLREPLAY_OWNER_PASSWORD", "CALLREPLAY_PIP_OPTIONS", "CALLREPLAY_EXTRAS"}


def _commands() -> Iterator[tuple[str, list[str]]]:
    """Where a command line of ours stands, and its words."""
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE):
            program, *words = shlex.split(line)
            assert program == INSTALLED, unit.name
            yield unit.name, words
    for name, service in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].items():
        if service["image"] == "callreplay":
            yield f"compose {name}", service["command"]
    (command,) = re.findall(r"^CMD (\[.+\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    yield "Dockerfile", yaml.safe_load(command)


@pytest.mark.parametrize(("where", "words"), list(_commands()), ids=[where for where, _ in _commands()])
def test_commands_are_ones_that_there_are(where: str, words: list[str]) -> None:
    command: Any = get_command(build(["--help"]))
    command.commands[words[0]].make_context(words[0], list(words[1:]))  # an option that there is not raises


def test_variables_are_settings() -> None:
    known = (
        set(Settings().as_environment()) | OWN | BUILD | {"CALLREPLAY_DATA_DIR", "CALLREPLAY_DATABASE_URL"}
    )
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    found = {name: path for path in files for name in re.findall(r"CALLREPLAY_[A-Z_]+", path.read_text())}
    assert len(found) > 8
    assert not {name: path.name for name, path in found.items() if name not in known}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("callreplay")
    for unit in (DEPLOY / "systemd").glob("callreplay*.[st]*"):
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, str(program)))
    units = sorted(tmp_path.iterdir())
    assert {unit.suffix for unit in units} == {".service", ".timer"}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    # What it says of other units of this machine is none of ours.
    told = [line for line in done.stderr.splitlines() if "callreplay" in line]
    assert not told
    assert done.returncode == 0, done.stderr


def test_a_timer_for_each_night_s_work() -> None:
    for timer in (DEPLOY / "systemd").glob("*.timer"):
        assert timer.with_suffix(".service").exists()
        assert "Type=oneshot" in timer.with_suffix(".service").read_text()


def test_the_image_s_sources_are_there() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    for name in copied:
        assert (DEPLOY.parent / name).exists(), name
        assert f"!{name}" in ignored, name
    for script in re.findall(r"^RUN (deploy/docker/\S+)", text, re.MULTILINE):
        assert (DEPLOY.parent / script).stat().st_mode & 0o111


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", DEPLOY / "monitoring" / "alerts.yaml"], check=True)
