"""The command line people expect: help, examples, completion, tables, manual pages, one line for each mistake."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import programs
from typer.main import get_command

from callreplay.cli import tables
from callreplay.cli.app import build
from callreplay.cli.examples import EXAMPLES
from callreplay.errors import ArgumentError

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
COMMAND = [sys.executable, "-m", "callreplay"]
OFFLINE = ("transcode", "info", "peaks", "speech", "man")


def run(*arguments: object, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80", **variables}
    return programs.run(arguments, capture_output=True, text=True, cwd=cwd, env=environment)


def _commands(command: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, f"{words} {name}".strip())


WHOLE = dict(_commands(get_command(build(["--help"]))))


def test_every_command_has_an_example_and_every_example_a_command() -> None:
    assert set(EXAMPLES) == set(WHOLE)


@pytest.mark.parametrize("words", sorted(WHOLE))
def test_examples_name_options_that_there_are(words: str) -> None:
    for example in EXAMPLES[words]:
        name, *rest = shlex.split(example)
        assert name == "callreplay"
        path = max((w for w in WHOLE if rest[: len(w.split())] == w.split()), key=len)
        known = {
            opt for parameter in WHOLE[path].params for opt in (*parameter.opts, *parameter.secondary_opts)
        }
        assert {word for word in rest if re.match(r"--?[a-z]", word)} <= known, example
        WHOLE[path].make_context(path, rest[len(path.split()) :])  # an argument too many raises
        assert not words or path.startswith(words.split(maxsplit=1)[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("examples")
    shutil.copy(SAMPLES / "reservation.pcap", made / "call.pcap")
    (made / "captures").mkdir()
    shutil.copy(SAMPLES / "support.pcap", made / "captures")
    for side, source in (("caller", "10.0.0.1"), ("called", "10.0.0.2")):
        _leg(made / f"{side}.rtpdump", source)
    assert run("transcode", "call.pcap", "-o", "call.wav", cwd=made).returncode == 0
    return made


def _leg(path: Path, source: str) -> None:
    """A second of a leg as rtpdump has it."""
    import struct

    from tests.captures import rtp

    address = bytes(map(int, source.split(".")))
    out = f"#!rtpplay1.0 {source}/4000\n".encode() + struct.pack(
        ">II4sHH", 1_700_000_000, 0, address, 4000, 0
    )
    for index in range(50):
        packet = rtp(index, index * 160, int(source[-1]))
        out += struct.pack(">HHI", 8 + len(packet), len(packet), index * 20) + packet
    path.write_bytes(out)


@pytest.mark.parametrize(
    "example",
    [
        e
        for words, examples in EXAMPLES.items()
        for e in examples
        if words.split()[:1] and words.split()[0] in OFFLINE
    ]
    + [EXAMPLES["batch"][0]],
)
def test_examples_run(example: str, folder: Path, tmp_path: Path) -> None:
    done = run(*shlex.split(example.replace("~", str(tmp_path)))[1:], cwd=folder)
    assert done.returncode == 0, done.stderr
    if " -o " in example:
        assert (folder / example.split(" -o ")[1].split(maxsplit=1)[0]).exists()


@pytest.mark.parametrize("words", ["", "transcode", "calls", "calls find"])
def test_h_is_help_and_shows_the_examples(words: str) -> None:
    short, long = run(*words.split(), "-h"), run(*words.split(), "--help")
    assert (short.returncode, short.stdout) == (0, long.stdout)
    shown = re.sub(r"\s+", " ", short.stdout)
    for example in EXAMPLES[words]:
        assert example in shown


@pytest.mark.parametrize(
    ("line", "variables", "wanted"),
    [
        ("callreplay trans", {"_CALLREPLAY_COMPLETE": "complete_bash", "COMP_CWORD": "1"}, "transcode"),
        (
            "callreplay transcode --sample",
            {"_CALLREPLAY_COMPLETE": "complete_bash", "COMP_CWORD": "2"},
            "--sample-format",
        ),
        (
            "callreplay transcode --channels ca",
            {"_CALLREPLAY_COMPLETE": "complete_bash", "COMP_CWORD": "3"},
            "called",
        ),
        ("callreplay calls find --caller-n", {"_CALLREPLAY_COMPLETE": "complete_zsh"}, "--caller-number"),
        (
            "callreplay speech --",
            {"_CALLREPLAY_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
            "--output",
        ),
    ],
)
def test_completion(line: str, variables: dict[str, str], wanted: str) -> None:
    typed = {"COMP_WORDS": line, "_TYPER_COMPLETE_ARGS": line}
    typed["_TYPER_COMPLETE_WORD_TO_COMPLETE"] = line.rsplit(maxsplit=1)[-1]
    done = run(cwd=None, **typed, **variables)
    assert wanted in done.stdout, done


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = run("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "_CALLREPLAY_COMPLETE" in done.stdout


_TO_WAV = ["transcode", "call.pcap", "-o", "x.wav"]
MISTAKES: dict[str, tuple[list[str], str]] = {
    "a command that is none": (
        ["transcoed", "call.pcap"],
        r"No such command 'transcoed'. Did you mean 'transcode', 'transcribe'\? callreplay --help tells more.",
    ),
    "an option that is none": ([*_TO_WAV, "--chanels", "mono"], "--channels"),
    "no capture": (["transcode", "-o", "x.wav"], "CAPTURE"),
    "no output": (["transcode", "call.pcap"], "--output"),
    "a capture that is not there": (["transcode", "absent.pcap", "-o", "x.wav"], "absent.pcap: No such file"),
    "a folder": (["transcode", "captures", "-o", "x.wav"], "captures: a folder.*batch takes folders"),
    "audio": (["transcode", "call.wav", "-o", "x.mp3"], "call.wav: not a capture but .*WAV"),
    "a format that is none": (["transcode", "call.pcap", "-o", "x.wma"], r"'\.wma'; name one of wav"),
    "no format": (["transcode", "call.pcap", "-o", "-"], "name one of wav"),
    "over itself": (["transcode", "call.pcap", "-o", "call.pcap", "--format", "wav"], "is the capture"),
    "a call that is none": ([*_TO_WAV, "--call", "7"], "holds 1 calls"),
    "channels that are none": ([*_TO_WAV, "--channels", "left"], "mono, stereo, caller or called, not 'left'"),
    "a time that is none": ([*_TO_WAV, "--start", "1m30"], "'1m30' is no time: use seconds or h:mm:ss"),
    "a window that is none": ([*_TO_WAV, "--start", "9", "--end", "3"], "start < end"),
    "a rate that is none": ([*_TO_WAV, "--rate", "96000"], "8000 to 48000"),
    "kilohertz": ([*_TO_WAV, "--rate", "8k"], "'--rate': .*int(eger)?"),
    "stereo where one channel fits": (
        ["transcode", "call.pcap", "-o", "x.spx", "--channels", "stereo"],
        "spx holds one channel",
    ),
    "a hint that is none": ([*_TO_WAV, "--codec", "opus"], "97=opus/48000"),
    "labels as audio": (["speech", "call.pcap", "-o", "x.wav"], "rttm, audacity, vtt, json"),
    "nothing to do": (["batch", "-o", "out"], "nothing to do"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line_that_tells_the_way(mistake: str, folder: Path) -> None:
    arguments, said = MISTAKES[mistake]
    before = sorted(folder.iterdir())
    done = run(*arguments, cwd=folder)
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert lines[0].startswith("callreplay: ")
    assert re.search(said, lines[0]), lines
    assert len(lines) == (1 if mistake != "a call that is none" else 2)
    assert sorted(folder.iterdir()) == before


def test_no_arguments_show_the_help() -> None:
    done = run()
    assert done.returncode == 2
    assert "transcode" in done.stdout + done.stderr


@pytest.mark.parametrize("no_color", ["1", ""])
def test_no_color_is_heeded_and_pipes_get_none(no_color: str) -> None:
    """On a terminal of 80 columns: colours, but not with NO_COLOR; in a pipe neither."""
    import pty

    command = [*COMMAND, "info", str(SAMPLES / "reservation.pcap")]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "NO_COLOR": no_color}
    environment.pop("CI", None)
    main, side = pty.openpty()
    with subprocess.Popen(command, stdout=side, env=environment) as child:
        os.close(side)
        shown = b""
        while True:
            try:
                part = os.read(main, 1 << 16)
            except OSError:
                break
            if not part:
                break
            shown += part
        assert child.wait() == 0
    os.close(main)
    # Rich takes bold for no colour; a colour is ESC [ 3x m.
    assert bool(re.search(rb"\x1b\[1m", shown)) or no_color
    assert not re.search(rb"\x1b\[(?:\d+;)*3\d", shown) or not no_color
    assert "\x1b" not in run("info", SAMPLES / "reservation.pcap", NO_COLOR=no_color).stdout


def test_tables_are_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    table = tables.Lines("id", "名", "note")
    table.add_row("0b9d1c8e-3f52-4c57-9f1e-52e0a3a4d7aa", "日本", "x" * 200)
    table.add_row("1", "", "two\nlines")
    table.print()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1] == f"0b9d1c8e-3f52-4c57-9f1e-52e0a3a4d7aa  日本  {'x' * 200}"
    assert lines[0].index("note") == 36 + 2 + (1 + 2) + 2  # wide letters take two columns
    assert lines[3].strip() == "lines"


def test_info_cuts_nothing_at_forty_columns() -> None:
    narrow, wide = (
        run("info", SAMPLES / "reservation.pcap", COLUMNS=width).stdout for width in ("40", "200")
    )
    assert narrow == wide
    assert "reservation@192.0.2.10" in narrow


def test_csv_and_json_of_columns(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"a": 'x "y"', "b": None, "c": 1},
        {"a": "ü, z", "b": ["p", "q"], "d": True},
    ]

    def told(*, as_json: bool = False, as_csv: bool = False, columns: str = "") -> str:
        assert tables.print_rows(rows, as_json=as_json, as_csv=as_csv, columns=columns)
        return capsys.readouterr().out

    assert list(csv.reader(io.StringIO(told(as_csv=True, columns=" c,a ,b,d")))) == [
        ["c", "a", "b", "d"],
        ["1", 'x "y"', "", ""],
        ["", "ü, z", '["p", "q"]', "true"],
    ]
    assert told(as_csv=True).splitlines()[0] == "a,b,c,d"
    assert json.loads(told(columns="b")) == [{"b": None}, {"b": ["p", "q"]}]
    assert json.loads(told(as_json=True)) == rows
    assert not tables.print_rows(rows, as_json=False, as_csv=False, columns="")
    with pytest.raises(ArgumentError, match="there is no column 'z'; there are a, b, c, d"):
        told(columns="z")
    with pytest.raises(ArgumentError, match="--csv and --json"):
        told(as_csv=True, as_json=True)
    rows.clear()
    assert told(as_csv=True, columns="x,y") == "x,y\r\n"


def test_every_list_is_to_be_had_as_json_and_csv_of_columns() -> None:
    commands: Any = get_command(build([]))
    lists = {"calls find", "jobs list", "tenants list", "users list", "users roles", "volumes list"}
    for group, command in commands.commands.items():
        for name, inner in getattr(command, "commands", {}).items():
            flags = {flag for parameter in inner.params for flag in parameter.opts}
            if name in ("find", "list") or f"{group} {name}" in lists:
                assert {"--json", "--csv", "--columns"} <= flags, (group, name)
                lists.discard(f"{group} {name}")
    assert not lists


def test_options_are_spelled_alike() -> None:
    """Small letters and dashes everywhere; what URLs have is taken too, and means the same."""
    for words, command in WHOLE.items():
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if parameter.param_type_name == "option":
                    assert re.fullmatch(r"-[a-z]|--[a-z0-9]+(-[a-z0-9]+)*", option), (words, option)
    find = WHOLE["calls find"]
    for spelling in ("--caller-number", "--callerNumber", "--callerIP"):
        root = get_command(build(["calls"]))
        context = root.make_context("callreplay", ["calls", "find", spelling, "7"], resilient_parsing=True)
        calls = root.commands["calls"].make_context("calls", ["find"], parent=context)  # type: ignore[attr-defined]
        made = find.make_context("find", [spelling, "7"], parent=calls)
        assert made.params["callerIP" if spelling == "--callerIP" else "callerNumber"] == "7"


def test_manual_pages(tmp_path: Path) -> None:
    assert run("man", tmp_path / "man1").returncode == 0
    made = {path.name: path.read_text() for path in (tmp_path / "man1").iterdir()}
    assert set(made) == {"-".join(["callreplay", *words.split()]) + ".1" for words in WHOLE}
    for words, command in WHOLE.items():
        page = made["-".join(["callreplay", *words.split()]) + ".1"].replace("\\-", "-")
        for heading in (".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"):
            assert heading in page
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"\\fB{option}\\fR" in page, (words, option)
        for example in EXAMPLES[words]:
            assert example in page
    if shutil.which("groff"):
        for path in (tmp_path / "man1").iterdir():
            done = subprocess.run(
                ["groff", "-k", "-man", "-ww", "-Tutf8", path], capture_output=True, text=True, check=True
            )
            assert done.stderr == ""
            assert "callreplay" in done.stdout
