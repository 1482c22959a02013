"""A capture to a file, whoever read the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from callreplay.capture import Call, Capture, open_capture
from callreplay.cli.printable import printable
from callreplay.cli.progress import progress_bar
from callreplay.cli.reading import capture_sources, parse_codecs
from callreplay.errors import ArgumentError, OutputError
from callreplay.outputs.atomic import write_all
from callreplay.outputs.formats import FORMATS, Format, format_of, suffix_of
from callreplay.outputs.options import Options

if TYPE_CHECKING:
    import os

    from callreplay.store.opening import StoredFile

__all__ = ["UNDECODED", "choose_call", "run"]

UNDECODED: Final = 3
"""The exit status of ``--strict`` where something could not be decoded."""


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
    captures: Sequence[str | os.PathLike[str] | StoredFile],
    output: str,
    form: str,
    number: int | None,
    codecs: list[str],
    options: Options,
    *,
    keylog: str | os.PathLike[str] | None = None,
    strict: bool = False,
) -> int:
    """Transcode one call to ``output`` (``-`` is standard output); the exit status.

    With ``strict`` it is 3 where something of the call could not be decoded: it is silent in the output.
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
        return UNDECODED if strict and call.undecoded else 0


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(printable(f"callreplay: warning: {line}"), file=sys.stderr)


def _warn_of_suffix(chosen: Format, output: str) -> None:
    """Say where a file's suffix promises another format than it is given."""
    suffix = suffix_of(output)
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
