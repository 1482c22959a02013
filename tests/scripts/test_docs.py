"""The documentation: it builds without a warning, names everything public, and what it shows can be typed."""

from __future__ import annotations

import contextlib
import html
import importlib.util
import io
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import programs
from typer.main import get_command

import callreplay
from callreplay import report
from callreplay.cli import app
from callreplay.service import openapi
from callreplay.service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GUIDES = sorted([*DOCS.glob("start/*.md"), *DOCS.glob("tutorials/*.md"), *DOCS.glob("how-to/*.md")])
OFFLINE = ("transcode", "info", "peaks", "speech", "batch")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as it is for readers: a warning, a broken link or a page outside the menu ends it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [ROOT / "scripts" / "docs", "--site-dir", folder],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "CALLREPLAY_SET_UP": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Documentation built" in done.stderr, "at a level of the log at which warnings are counted"
    return folder


def shown(path: Path) -> str:
    """A page's text."""
    return html.unescape(re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_every_public_name_has_a_page(site: Path) -> None:
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in callreplay.__all__:
        if name != "__version__":
            assert f"callreplay.{name}" in (DOCS / "reference" / "python.md").read_text().split(), name
            module, attribute = callreplay._HOMES.get(name, ("", name))
            home = f"callreplay.{module}.{attribute}" if module else f"callreplay.{attribute}"
            assert f'id="callreplay.{name}"' in python or f'id="{home}"' in python, name
    (names,) = re.findall(
        r"^__all__ = \[(.*)\]$", (ROOT / "src/callreplay/torch.py").read_text(), re.MULTILINE
    )
    for name in re.findall(r"\w+", names):
        assert f'id="callreplay.torch.{name}"' in python, name
    for name in ("Call", "Capture", "Leg"):
        for member, value in vars(getattr(callreplay, name)).items():
            if not member.startswith("_") and getattr(value, "__doc__", None):
                assert re.search(rf'id="callreplay\.(\w+\.)*{name}\.{member}"', python), f"{name}.{member}"


@pytest.mark.slow
def test_commands_settings_parameters_and_fields_have_a_page(site: Path) -> None:
    text = {name: shown(site / "reference" / f"{name}.html") for name in
            ("cli", "settings", "views", "report")}  # fmt: skip
    text["parameters"] = shown(site / "parameters.html") + shown(site / "service.html")
    command: Any = get_command(app.build(["--help"]))
    for name in app.COMMANDS:
        assert f"callreplay {name}" in text["cli"]
        for below in getattr(command.commands[name], "commands", {"": command.commands[name]}).values():
            for parameter in below.params:
                assert (
                    parameter.opts[0] in text["cli"]
                    or (parameter.metavar or parameter.name.upper()) in text["cli"]
                ), parameter.name
    for setting in fields(Settings):
        assert f"CALLREPLAY_{setting.name.upper()}" in text["settings"]
    for parameter in openapi.build()["paths"]["/CallRecorder/Transcoder"]["get"]["parameters"]:
        assert parameter["name"] in text["parameters"]
    for name, said in report.schema()["$defs"].items():
        assert name.replace("_", " ") in text["report"]
        assert all(field in text["report"] for field in said["properties"])
    assert "call_list" in text["views"]
    header = "".join(path.read_text() for path in (ROOT / "native" / "include" / "callreplay").glob("*.h"))
    functions = set(re.findall(r"\b(cr_\w+)\(", header))
    assert len(functions) > 30
    c = shown(site / "reference" / "c.html")
    assert not [name for name in functions if name not in c]


@pytest.mark.slow
def test_the_site_asks_nothing_of_other_places(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?:[^"]+)"', text)
        assert not loaded, page


def _shell(page: Path) -> Iterator[list[str]]:
    """Command lines of ours in a page's console blocks."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in re.findall(r"^\s*\$ (.+)$", block, re.MULTILINE):
            for part in re.split(r" \| ", line):
                words = shlex.split(part)
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    words = words[1:]
                if words[:1] in (["callreplay"], ["scripts/run"]):
                    yield words[1:]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_commands_of_a_page_can_be_typed(page: Path) -> None:
    command: Any = get_command(app.build(["--help"]))
    for words in _shell(page):
        if words == ["--version"]:
            continue
        found, rest = command, words
        while hasattr(found, "commands"):
            found, rest = found.commands[rest[0]], rest[1:]
        found.make_context("callreplay", list(rest))  # an option that there is not raises


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_a_page_runs_from_its_first_block_to_its_last(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs no network and no service: commands with the samples, and all Python."""
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    space: dict[str, Any] = {"__name__": "guide"}
    for kind, block in re.findall(r"```(python|console)\n(.*?)```", text, re.DOTALL):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block, str(page), "exec"), space)
            continue
        for line in re.findall(r"^\s*\$ callreplay (.+)$", block, re.MULTILINE):
            words = shlex.split(line)
            if words[0] in OFFLINE and any(word.startswith("samples") for word in words) and "|" not in words:
                done = programs.run(words, capture_output=True)
                assert done.returncode == 0, done.stderr


def test_pages_in_the_menu_are_there() -> None:
    def paths(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for each in entry.values() if isinstance(entry, dict) else entry:
                yield from paths(each)

    menu = list(paths(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert len(menu) == len(set(menu))
    assert {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} == set(menu)


def test_every_alert_has_its_line_on_the_page() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text())
    page = (DOCS / "how-to" / "monitoring.md").read_text()
    for rule in rules["groups"][0]["rules"]:
        assert f"`{rule['alert']}`" in page


def test_what_is_made_is_named_on_a_page() -> None:
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "scripts" / "docs_pages.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    named = {
        name for page in DOCS.rglob("*.md") for name in re.findall(r"<!-- made: (\w+) -->", page.read_text())
    }
    assert named == set(made.MADE)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_no_heading_stands_over_nothing(page: Path) -> None:
    """Every chapter says something, or has chapters that do."""
    text = re.sub(r"```.*?```", "code", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    parts = re.split(r"^(#+) (.+)$", text, flags=re.MULTILINE)[1:]
    heads = [(len(parts[i]), parts[i + 1], parts[i + 2].strip()) for i in range(0, len(parts), 3)]
    for number, (depth, title, body) in enumerate(heads):
        deeper = number + 1 < len(heads) and heads[number + 1][0] > depth
        assert body or deeper, title
