"""One set of options: the same names and defaults in the API, on the command line and in URLs."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import typer
from typer.main import get_command

import callreplay
from callreplay.cli import options as cli_options
from callreplay.cli.app import build
from callreplay.errors import ArgumentError
from callreplay.outputs.formats import FORMATS, Format, Shape, fit_options, format_of, render
from callreplay.outputs.options import Options
from callreplay.service import openapi, transcoder

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "reservation.pcap"
NAMES = [field.name for field in fields(Options)]


def _camel(name: str) -> str:
    return re.sub(r"_(.)", lambda match: match[1].upper(), name)


def _flags(command: str) -> set[str]:
    group: Any = get_command(build([]))
    return {flag for parameter in group.commands[command].params for flag in parameter.opts}


@pytest.mark.parametrize("command", ["transcode", "peaks", "batch"])
def test_every_option_has_its_name_on_the_command_line(command: str) -> None:
    flags = _flags(command)
    for name in NAMES:
        assert "--" + name.replace("_", "-") in flags, name


def test_the_command_line_offers_nothing_else_and_has_the_same_defaults() -> None:
    assert set(cli_options._PARAMETERS) == set(NAMES)
    seen: list[Options] = []
    probe = typer.Typer()

    @probe.command()
    @cli_options.with_output_options
    def run(*, options: Options) -> None:
        seen.append(options)

    get_command(probe).main([], standalone_mode=False)
    assert seen == [Options()]


def test_every_option_has_its_name_in_urls_and_in_their_description() -> None:
    assert {parameter: option for parameter, (option, _) in transcoder.OPTIONS.items()} == {
        _camel(name): name for name in NAMES
    }
    assert set(transcoder.OPTIONS) <= set(openapi._RENDER)


def test_every_option_is_a_keyword_of_the_api(tmp_path: Path) -> None:
    with callreplay.open(SAMPLE) as capture:
        call = capture.calls[0]
        for field in fields(Options):
            call.save(tmp_path / "x.json", **{field.name: getattr(Options(), field.name)})
        with pytest.raises(ArgumentError, match="colour_scheme"):
            call.save(tmp_path / "y.json", colour_scheme="loud")  # type: ignore[call-arg]
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    ("parameters", "option"),
    [
        ({"vbr": "true", "dtx": "1"}, {"vbr": True, "dtx": True}),
        ({"labels": "Ana\nFront Desk"}, {"labels": ("Ana", "Front Desk")}),
        ({"axis": "false", "callerColor": "#102030"}, {"axis": False, "caller_color": "#102030"}),
        (
            {"peaksVersion": "1", "samplesPerPixel": "64"},
            {"peaks_version": 1, "samples_per_pixel": 64},
        ),
        (
            {"concealment": "best", "limiter": "true", "loudness": "-23", "loudnessBy": "leg"},
            {"concealment": "best", "limiter": True, "loudness": -23.0, "loudness_by": "leg"},
        ),
        ({"sampleFormat": "alaw", "dtmf": "tone"}, {"sample_format": "alaw", "dtmf": "tone"}),
    ],
)
def test_urls_mean_what_the_options_mean(parameters: dict[str, str], option: dict[str, object]) -> None:
    assert transcoder.option_values(list(parameters.items())) == option


@pytest.mark.parametrize(
    "wrong",
    [
        {"quality": 11},
        {"quality": -1},
        {"rate": 1},
        {"start": float("nan")},
        {"end": float("nan")},
        {"start": 5.0, "end": 5.0},
        {"width": 10**9},
        {"height": 0},
        {"bits": 12},
        {"samples_per_pixel": 0},
        {"peaks_version": 3},
        {"bitrate": -5},
        {"caller_color": "#12345g"},
        {"theme": "neon"},
        {"dtmf": "loud"},
        {"concealment": "none"},
        {"loudness": 1.0},
        {"loudness": float("nan")},
        {"loudness_by": "ear"},
        {"sample_format": "float"},
        {"channels": "quadro"},
    ],
)
def test_a_value_out_of_range_is_refused_by_name_and_leaves_no_file(
    wrong: dict[str, Any], tmp_path: Path
) -> None:
    with callreplay.open(SAMPLE) as capture, pytest.raises(ArgumentError) as raised:
        capture.calls[0].save(tmp_path / "x.png", **wrong)
    assert re.search(next(iter(wrong)).split("_")[-1].replace("color", "colour"), str(raised.value))
    assert not list(tmp_path.iterdir())


WHOLE = {
    "rate": 16000, "quality": 5, "bitrate": 32000, "width": 300, "height": 100, "samples_per_pixel": 64, "bits": 8,
    "peaks_version": 1,
}  # fmt: skip
SECONDS = {"start": 1.0, "end": 2.0}
LEVELS = {"loudness": -23.0}


def test_every_number_among_the_options_is_in_these_tests() -> None:
    numbers = {field.name for field in fields(Options) if field.type in ("int", "float", "float | None")}
    assert {*WHOLE, *SECONDS, *LEVELS} == numbers


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("make", [float, np.float64, str, lambda value: value + 0.5, lambda _: None])
def test_what_is_no_whole_number_is_refused_by_name(name: str, make: Callable[[int], Any]) -> None:
    with pytest.raises(ArgumentError, match=f"^{name} must be a whole number, not "):
        Options(**{name: make(WHOLE[name])})


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("make", [np.int64, np.uint32])
def test_whole_numbers_of_other_types_are_ints(name: str, make: Callable[[int], Any]) -> None:
    value = getattr(Options(**{name: make(WHOLE[name])}), name)
    assert (value, type(value)) == (WHOLE[name], int)


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("make", [int, np.float32, np.int64, Fraction, Decimal])
def test_seconds_are_numbers_of_any_type(name: str, make: Callable[[float], Any]) -> None:
    value = getattr(Options(**{name: make(SECONDS[name])}), name)
    assert (value, type(value)) == (SECONDS[name], float)


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("wrong", ["1.0", b"1", [1.0], 10**400, 1j])
def test_what_is_no_number_of_seconds_is_refused_by_name(name: str, wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^{name} must be a number of seconds, not "):
        Options(**{name: wrong})


@pytest.mark.parametrize("rate", [16000.0, 8000.5, np.float64(16000), "16000"])
def test_mixing_at_a_rate_that_is_no_whole_number(rate: Any) -> None:
    with (
        callreplay.open(SAMPLE) as capture,
        pytest.raises(ArgumentError, match="rate must be a whole number"),
    ):
        capture.calls[0].mix(rate=rate)


def test_mixing_by_numbers_of_numpy() -> None:
    numbers: dict[str, Any] = {"rate": np.int64(16000), "end": np.float32(1)}
    with callreplay.open(SAMPLE) as capture:
        call = capture.calls[0]
        assert np.array_equal(call.mix(**numbers), call.mix(rate=16000, end=1.0))


@pytest.mark.parametrize("chosen", list(FORMATS.values()), ids=lambda form: form.name)
def test_the_suffix_and_the_name_give_the_same_file(chosen: Format, tmp_path: Path) -> None:
    with callreplay.open(SAMPLE) as capture:
        call = capture.calls[0]
        by_suffix, by_name = tmp_path / f"x{chosen.suffixes[0]}", tmp_path / "x.bin"
        call.save(by_suffix)
        call.save(by_name, chosen.name)
        assert by_suffix.stat().st_size > 100
        if chosen.name not in ("opus", "m4a"):  # libavformat draws a serial number or a time
            assert by_suffix.read_bytes() == by_name.read_bytes()
        if chosen.media_type.startswith("audio") and shutil.which("ffprobe"):
            entry = ["-show_entries", "format=duration", "-of", "csv=p=0"]
            done = subprocess.run(
                ["ffprobe", "-v", "error", "-count_packets", *entry, by_suffix],
                check=True,
                capture_output=True,
                text=True,
            )
            if "N/A" not in done.stdout:
                assert float(done.stdout) == pytest.approx(call.duration_s, abs=0.15)


def test_json_is_an_alias_and_unknown_formats_are_named() -> None:
    assert format_of("json") is format_of("peaks") is format_of(path="x.JSON")
    with pytest.raises(ArgumentError, match="docx"):
        format_of("docx")
    with pytest.raises(ArgumentError, match="docx"):
        format_of(path="x.docx")


def test_a_file_says_what_call_it_is_of() -> None:
    with callreplay.open(SAMPLE) as capture:
        call = capture.calls[0]
        call.uuid = "0b5f8f1e-7f5c-4f0e-9d43-5a4d9f3f7d11"
        data = b"".join(call.stream("spx", title="Über die Reise"))
    for comment in ("TITLE=Über die Reise", "DATE=2", "UUID=0b5f8f1e-7f5c-4f0e-9d43-5a4d9f3f7d11"):
        assert comment.encode() in data[:1000]


@pytest.mark.parametrize("form", list(FORMATS.values()), ids=lambda form: form.name)
@pytest.mark.parametrize("frames", [0, 1])
def test_a_call_of_next_to_nothing_is_a_whole_file(form: Format, frames: int, tmp_path: Path) -> None:
    channels = 1 if form.mono_only else 2
    blocks = [np.zeros((frames, channels), np.int16)] if frames else []
    options = fit_options(form, Options(), 8000)
    path = tmp_path / f"x{form.suffixes[0]}"
    path.write_bytes(b"".join(render(form, Shape(frames, channels, 8000), blocks, options)))
    if form.name == "peaks":
        assert json.loads(path.read_bytes())["length"] == frames
    elif form.name == "dat":
        assert path.stat().st_size == 24 + frames * 8
    elif form.name != "wav" or frames:
        done = subprocess.run(
            ["ffprobe", "-v", "error", "-show_entries", "stream=index", "-of", "csv=p=0", path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "0", "")


@pytest.mark.parametrize("channels", ["mono", "stereo"])
def test_flac_has_its_length(channels: Literal["mono", "stereo"], tmp_path: Path) -> None:
    """In its header, so that players show it and can seek, though it is written without seeking."""
    av = pytest.importorskip("av")
    with callreplay.open("samples/reservation.pcap") as capture:
        call = capture.calls[0]
        call.save(tmp_path / "x.flac", channels=channels)
        wanted = call.mix(channels)
    with av.open(str(tmp_path / "x.flac")) as file:
        stream = file.streams.audio[0]
        assert (stream.duration, stream.time_base) == (len(wanted), Fraction(1, 8000))
        heard = np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(stream)])
    np.testing.assert_array_equal(heard, wanted.reshape(-1))
