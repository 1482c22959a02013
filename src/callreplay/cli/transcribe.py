"""``callreplay transcribe``: what was said, by a recogniser of the user's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callreplay.capture import Call, Capture, open_capture
from callreplay.cli.database import DatabaseOption, DataOption, TenantOption, UserOption, database
from callreplay.cli.keeping import keep_each
from callreplay.cli.options import CallOption, CodecOption, KeyLogOption
from callreplay.cli.reading import capture_sources, parse_codecs
from callreplay.cli.transcoding import choose_call
from callreplay.clock import utc
from callreplay.errors import ArgumentError
from callreplay.outputs.atomic import AtomicFile
from callreplay.outputs.captions import CAPTION_FORMATS, caption_format
from callreplay.transcripts import Recogniser, Transcript, Word, recogniser_of, transcribe

if TYPE_CHECKING:
    from uuid import UUID

    from callreplay.batch import Job
    from callreplay.store.database import Connection, Database
    from callreplay.store.search import Reach

__all__ = ["register"]


def _write(call: Call, transcript: Transcript, output: str, form: str) -> None:
    make = caption_format(form or ("vtt" if output in ("", "-") else ""), output)
    names = {side: call.party(side) for side in ("caller", "called")}
    about = {
        "start": utc(call.start_ns),
        "duration_s": round(call.duration_s, 6),
        "made_with": transcript.made_with,
    }
    with AtomicFile(output or "-") as out:
        out.write(make(transcript.words, names, about).encode())


def _stored(
    opened: Database,
    jobs: list[Job],
    tenant: str,
    user: str,
    recogniser: Recogniser,
    name: str,
    seconds: float,
) -> int:
    """Transcribe stored calls and keep their words; how many failed. Each is kept as it is done."""
    from callreplay.store.words import keep_words

    def find(capture: Capture) -> list[Word]:
        return [
            word
            for call in capture.calls
            for word in transcribe(call, recogniser, seconds, made_with=name).words
        ]

    def keep(connection: Connection, reach: Reach | int, uuid: UUID, words: list[Word]) -> None:
        keep_words(connection, reach, uuid, words, name)

    return keep_each(opened, jobs, tenant, user, find, keep)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="transcribe")
    def transcribe_command(
        captures: Annotated[
            list[Path] | None,
            typer.Argument(metavar="CAPTURE...", help="A capture, or the files of one call in any order."),
        ] = None,
        with_: Annotated[
            str,
            typer.Option("--with", help="MODULE:FUNCTION, the recogniser; of a module here or installed."),
        ] = "",
        output: Annotated[
            str, typer.Option("--output", "-o", help="x.vtt, x.srt or x.json; - for standard output.")
        ] = "",
        form: Annotated[
            str,
            typer.Option("--format", help=f"{', '.join(CAPTION_FORMATS)}, instead of by the file's suffix."),
        ] = "",
        seconds: Annotated[
            float, typer.Option(help="The longest piece that the recogniser is given.")
        ] = 30.0,
        call: CallOption = None,
        codec: CodecOption = [],  # noqa: B006
        keylog: KeyLogOption = None,
        query: Annotated[
            str | None,
            typer.Option(
                help="Stored calls instead, as the Transcoder: 'callerNumber=…'; words are kept with them."
            ),
        ] = None,
        tenant: TenantOption = "default",
        user: UserOption = "",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Have a recogniser hear each speaker; write captions, or keep the words of stored calls to be found by."""
        if bool(captures) == (query is not None):
            raise ArgumentError("name captures, or stored calls by --query")
        recogniser = recogniser_of(with_)
        if query is not None:
            from callreplay.batch.stored import find_stored_jobs

            with database(url, data) as opened:
                jobs = find_stored_jobs(opened, tenant, query, user)
                failed = _stored(opened, jobs, tenant, user, recogniser, with_, seconds)
            print(f"{len(jobs) - failed:,} calls transcribed, {failed:,} errors", file=sys.stderr)
            if failed:
                raise typer.Exit(1)
            return
        with open_capture(
            *capture_sources(captures or []), codecs=parse_codecs(codec), keylog=keylog
        ) as capture:
            chosen = choose_call(capture, call)
            chosen.refuse_encrypted()
            _write(chosen, transcribe(chosen, recogniser, seconds, made_with=with_), output, form)
