"""Command lines that are read without Typer mean what they mean to Typer."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from callreplay.cli import transcode, transcoding
from callreplay.cli.app import build
from callreplay.cli.plain import plainly, values_of
from callreplay.outputs.options import ROWS

SAMPLES = Path(__file__).parents[2] / "samples"
CAPTURE = str(SAMPLES / "reservation.pcap")


def _ways(row: Any) -> list[list[str]]:
    """How an option may be typed."""
    if row.cli is bool:
        return [[row.flag]] if row.default is False else [[row.flag], [f"--no-{row.flag[2:]}"]]
    values = [str(value) for value in row.choices] or [
        row.example,
        *({"seconds": ["1:02.5"]}.get(row.unit, [])),
    ]
    values = [value for value in values if not value.startswith("-")] or ["0"]
    flags = row.flags or (row.flag,)
    return [[flag, value] for flag in flags for value in values] + [
        [f"{flag}={value}"] for flag in flags for value in values
    ]


PLAIN = [
    *(way for row in ROWS for way in _ways(row)),
    ["--call", "2"],
    ["--format", "spx", "--strict"],
    ["--codec", "97=opus/48000", "--codec", "98=AMR/8000;octet-align=1"],
    ["--labels", "Ana", "--labels", "Front Desk"],
    ["--keylog", __file__],
    [str(SAMPLES / "support.pcap")],
    ["--title", ""],
    [],
]


def _both(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[Any]]:
    """What ``run`` is asked for by either reading; nothing where it is not asked."""
    asked: tuple[list[Any], list[Any]] = [], []
    for found, place in zip(asked, (transcoding, transcode), strict=True):

        def run(
            captures: Any,
            output: Any,
            form: Any,
            number: Any,
            codecs: Any,
            options: Any,
            *,
            keylog: Any = None,
            strict: bool = False,
            found: list[Any] = found,
        ) -> int:
            paths = [Path(each) for each in (*captures, *([keylog] if keylog else []))]
            found += [paths, output, form, number, codecs, options, strict]
            return 0

        monkeypatch.setattr(place, "run", run)
    plain = plainly(words)
    if plain is not None:
        assert plain() == 0
    get_command(build(words)).main(words, standalone_mode=False)
    return asked


@pytest.mark.parametrize("more", PLAIN, ids=" ".join)
def test_plain_words_say_the_same_to_either(more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ours, typers = _both(["transcode", CAPTURE, "-o", "-", *more], monkeypatch)
    assert ours == typers
    assert ours


def test_all_of_them_together_too(monkeypatch: pytest.MonkeyPatch) -> None:
    several = [*chain.from_iterable(_ways(row)[-1] for row in ROWS if row.flag not in ("--start", "--end"))]
    ours, typers = _both(["transcode", *several, "--output=x.wav", CAPTURE, "--end", "9"], monkeypatch)
    assert ours == typers
    assert ours


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["info", CAPTURE],
        ["transcode"],
        ["transcode", "-h"],
        ["transcode", CAPTURE],
        ["transcode", "-o", "x.wav"],
        ["transcode", "/nowhere/at/all.pcap", "-o", "x.wav"],
        *(
            ["transcode", CAPTURE, "-o", "x.wav", *more]
            for more in (
                ["-h"],
                ["--outpu", "y"],
                ["--output", "y"],
                ["--sampleFormat", "ulaw"],
                ["--sample-format"],
                ["--rate", "many"],
                ["--rate", "1_000"],
                ["--call", "-1"],
                ["--start", "soon"],
                ["--loudness", "-23"],
                ["--limiter", "--limiter"],
                ["--axis", "--no-axis"],
                ["--limiter=yes"],
                ["--no-strict"],
                ["-oy"],
                ["-o=y"],
                ["-"],
                ["--", "y"],
            )
        ),
    ],
    ids=" ".join,
)
def test_whatever_else_there_is_typer_reads(words: list[str]) -> None:
    assert plainly(words) is None


@pytest.mark.parametrize(
    "text",
    ["/", ".", "..", "./", "/.", "/tmp/", "//tmp", "///tmp", "./samples//", "samples/./..", "/./tmp/."],
)
def test_paths_are_written_as_pathlib_writes_them(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SAMPLES.parent)
    found = values_of([text, "-o", "x.wav"])
    assert found is None or found["captures"] == [str(Path(text))]
    assert (found is None) == text.startswith("//")


def test_a_shell_that_asks_for_completions_asks_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["transcode", CAPTURE, "-o", "x.wav"]
    assert plainly(words) is not None
    monkeypatch.setenv("_CALLREPLAY_COMPLETE", "complete_bash")
    assert plainly(words) is None
