"""``callreplay transcode``: a capture to a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from callreplay.capture import Call, Capture, open_capture
from callreplay.cli.options import KeyLogOption, capture_sources, parse_codecs, with_output_options
from callreplay.cli.progress import progress_bar
from callreplay.errors import ArgumentError, OutputError
from callreplay.outputs.atomic import write_all
from callreplay.outputs.formats import format_of
from callreplay.outputs.options import Options

__all__ = ["choose_call", "register", "run"]


def choose_call(capture: Capture, number: int | None) -> Call:
    """Call ``number`` (from 1) of the capture; without a number the only one there is."""
    calls = capture.calls
    if not calls:
        raise ArgumentError(f"{capture.name}: no call was found in it ({capture.why_empty()})")
    if number is None and len(calls) == 1:
        return calls[0]
    if number is None or not 1 <= number <= len(calls):
        listing = "\n".join(f"  --call {call.number}: {call.title()}" for call in calls[:50])
        raise ArgumentError(f"{capture.name} holds {len(calls)} calls; choose one:\n{listing}")
    return calls[number - 1]


def run(
    captures: list[Path],
    output: str,
    form: str,
    number: int | None,
    codecs: list[str],
    options: Options,
    keylog: Path | None = None,
) -> None:
    """Transcode one call to ``output`` (``-`` is standard output)."""
    chosen = format_of(form, None if output == "-" else output)
    with open_capture(*capture_sources(captures), codecs=parse_codecs(codecs), keylog=keylog) as capture:
        call = choose_call(capture, number)
        for warning in (*capture.warnings, *call.warnings):
            print(f"callreplay: warning: {warning}", file=sys.stderr)
        if output == "-":
            _to_standard_output(call.stream(chosen.name, options=options))
            return
        with progress_bar(call.title()) as advance:
            call.save(output, chosen.name, options=options, progress=advance)


def _to_standard_output(parts: Iterator[bytes]) -> None:
    for data in parts:
        try:
            write_all(sys.stdout.buffer, data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write standard output: {error.strerror or error}") from error


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="transcode")
    @with_output_options
    def transcode(
        captures: Annotated[
            list[Path],
            typer.Argument(
                metavar="CAPTURE...",
                help="A capture, or the files of one call in any order; - is standard input.",
            ),
        ],
        output: Annotated[str, typer.Option("--output", "-o", help="File to write; - for standard output.")],
        form: Annotated[str, typer.Option("--format", help="Instead of by the file's suffix.")] = "",
        call: Annotated[
            int | None, typer.Option("--call", help="Which call, where there are several; from 1.")
        ] = None,
        codec: Annotated[
            list[str],
            typer.Option("--codec", help="PT=NAME/RATE for a payload type that no signalling names."),
        ] = [],  # noqa: B006
        keylog: KeyLogOption = None,
        *,
        options: Options,
    ) -> None:
        """Turn a call into audio (wav, spx, mp3, opus, flac, m4a), a picture (png) or peaks (json, dat)."""
        run(captures, output, form, call, codec, replace(options), keylog)
