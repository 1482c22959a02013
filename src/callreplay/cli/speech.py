"""``callreplay speech``: who talks when."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from callreplay.capture import Call, Capture, open_capture
from callreplay.cli.database import DatabaseOption, DataOption, TenantOption, UserOption, database
from callreplay.cli.keeping import keep_each
from callreplay.cli.options import CallOption, CodecOption, KeyLogOption
from callreplay.cli.reading import capture_sources, parse_codecs
from callreplay.cli.tables import Lines
from callreplay.cli.transcoding import choose_call
from callreplay.clock import length, utc
from callreplay.errors import ArgumentError
from callreplay.outputs.atomic import AtomicFile
from callreplay.outputs.labels import LABEL_FORMATS, Label, label_format

if TYPE_CHECKING:
    from callreplay.audio.speech import Detector
    from callreplay.store.database import Database

__all__ = ["register"]


def _labels(call: Call, detector: Detector) -> list[Label]:
    found = [
        Label(talk.start_s, talk.end_s, leg.side, channel, call.party(leg.side), talk.level_dbfs)
        for channel, leg in enumerate(call.legs, 1)
        for talk in leg.speech(detector)
    ]
    return sorted(found, key=lambda label: (label.start_s, label.channel))


def _show(call: Call, detector: Detector) -> None:
    figures = call.speech(detector)
    typer.echo(
        f"{call.title()}: talk {length(figures.talk_s, tenths=True)}, silence "
        f"{length(figures.silence_s, tenths=True)}, both at once {length(figures.overlap_s, tenths=True)}"
    )
    table = Lines("", "talk", "share", "stretches", "longest", "interruptions")
    for side, party in (("caller", figures.caller), ("called", figures.called)):
        table.add_row(
            side,
            f"{party.talk_s:.1f} s",
            f"{party.share:.0%}",
            str(party.segments),
            f"{party.longest_monologue_s:.1f} s",
            str(party.interruptions),
        )
    table.print()


def _keep(opened: Database, tenant: str, query: str, user: str) -> int:
    """Find out who talks how long in stored calls, and keep it with them; how many could not be heard."""
    from callreplay.batch.stored import find_stored_jobs
    from callreplay.importing.talk import heard
    from callreplay.store.records import keep_speech

    def find(capture: Capture) -> dict[str, int]:
        figures = heard(capture.calls[0]) if len(capture.calls) == 1 else {}
        if not figures:
            raise ArgumentError("encrypted, or a part of it cannot be decoded here")
        return figures

    jobs = find_stored_jobs(opened, tenant, query, user)
    failed = keep_each(opened, jobs, tenant, user, find, keep_speech)
    print(f"{len(jobs) - failed:,} calls heard, {failed:,} errors", file=sys.stderr)
    return failed


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="speech")
    def speech(
        captures: Annotated[
            list[Path] | None,
            typer.Argument(
                metavar="CAPTURE...",
                help="A capture, or the files of one call in any order; - is standard input.",
            ),
        ] = None,
        output: Annotated[
            str,
            typer.Option(
                "--output",
                "-o",
                help="x.rttm, x.txt (Audacity's labels), x.vtt or x.json; - for standard output. "
                "Without it the figures are shown.",
            ),
        ] = "",
        form: Annotated[
            str,
            typer.Option("--format", help=f"{', '.join(LABEL_FORMATS)}, instead of by the file's suffix."),
        ] = "",
        call: CallOption = None,
        codec: CodecOption = [],  # noqa: B006
        keylog: KeyLogOption = None,
        by: Annotated[
            str, typer.Option("--detector", help="native, or silero (a neural network; extra vad).")
        ] = "native",
        query: Annotated[
            str | None,
            typer.Option(
                help="Stored calls instead, as the Transcoder: 'callerNumber=…'; the figures are kept with them."
            ),
        ] = None,
        tenant: TenantOption = "default",
        user: UserOption = "",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Find who talks when: talk time, silence, overlap, and a file of labels."""
        if bool(captures) == (query is not None):
            raise ArgumentError("name captures, or stored calls by --query")
        if query is not None:
            if output or form or by != "native":
                raise ArgumentError("--query keeps the figures of the native detector, and writes no file")
            with database(url, data) as opened:
                failed = _keep(opened, tenant, query, user)
            if failed:
                raise typer.Exit(1)
            return
        captures = captures or []
        detector = cast("Detector", by)  # checked where it is used
        make = label_format(form, output) if output or form else None
        with open_capture(*capture_sources(captures), codecs=parse_codecs(codec), keylog=keylog) as capture:
            chosen = choose_call(capture, call)
            chosen.refuse_encrypted()
            if make is None:
                _show(chosen, detector)
                return
            about: dict[str, Any] = {
                "file": Path(captures[0]).stem,
                "start": utc(chosen.start_ns),
                "duration_s": round(chosen.duration_s, 6),
                "speech": asdict(chosen.speech(detector)),
            }
            text = make(_labels(chosen, detector), about)
        with AtomicFile(output or "-") as out:
            out.write(text.encode())
