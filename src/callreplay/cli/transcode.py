"""``callreplay transcode``: a capture to a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from callreplay.capture import Call, Capture, open_capture
from callreplay.cli.options import (
    CallOption,
    CodecOption,
    KeyLogOption,
    capture_sources,
    parse_codecs,
    with_output_options,
)
from callreplay.cli.printable import printable
from callreplay.cli.progress import progress_bar
from callreplay.errors import ArgumentError, OutputError
from callreplay.outputs.atomic import write_all
from callreplay.outputs.formats import FORMATS, Format, format_of
from callreplay.outputs.options import Options

if TYPE_CHECKING:
    from callreplay.store.opening import StoredFile

__all__ = ["UNDECODED", "StrictOption", "choose_call", "register", "run"]

UNDECODED: Final = 3
"""The exit status of ``--strict`` where something could not be decoded."""
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Status 3 where something could not be decoded and is silent.")
]


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
    captures: Sequence[Path | StoredFile],
    output: str,
    form: str,
    number: int | None,
    codecs: list[str],
    options: Options,
    *,
    keylog: Path | None = None,
    strict: bool = False,
) -> None:
    """Transcode one call to ``output`` (``-`` is standard output).

    With ``strict`` the status is 3 where something of the call could not be decoded: it is silent in the output.
    """
    chosen = format_of(form, None if output == "-" else output)
    if output != "-" and form:
        _warn_of_suffix(chosen, output)
    with open_capture(*capture_sources(captures), codecs=parse_codecs(codecs), keylog=keylog) as capture:
        call = choose_call(capture, number)
        if options.start and options.start >= call.duration_s:
            raise ArgumentError(
                f"start: {options.start:g} s is beyond the end of the call ({call.duration_s:.1f} s)"
            )
        told = [*capture.warnings, *call.all_warnings()]
        _warn(told)
        if output == "-":
            _to_standard_output(call.stream(chosen.name, options=options))
        else:
            with progress_bar(call.title()) as advance:
                call.save(output, chosen.name, options=options, progress=advance)
        _warn(line for line in call.all_warnings() if line not in told)
        if strict and call.undecoded:
            raise typer.Exit(UNDECODED)


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(printable(f"callreplay: warning: {line}"), file=sys.stderr)


def _warn_of_suffix(chosen: Format, output: str) -> None:
    """Say where a file's suffix promises another format than it is given."""
    suffix = Path(output).suffix.lower()
    other = next((name for name, each in FORMATS.items() if suffix in each.suffixes), "")
    if other and suffix not in chosen.suffixes:
        _warn([f"{output} is {chosen.name}, not the {other} that its suffix says"])


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
        call: CallOption = None,
        codec: CodecOption = [],  # noqa: B006
        keylog: KeyLogOption = None,
        strict: StrictOption = False,
        *,
        options: Options,
    ) -> None:
        """Turn a call into audio (wav, spx, mp3, opus, flac, m4a), a picture (png) or peaks (json, dat)."""
        run(captures, output, form, call, codec, replace(options), keylog=keylog, strict=strict)
