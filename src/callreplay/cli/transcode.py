"""``callreplay transcode``: a capture to a file. What ``plain.py`` reads does not come here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from callreplay.cli.options import CallOption, CodecOption, KeyLogOption, with_output_options
from callreplay.cli.transcoding import run
from callreplay.outputs.options import Options

__all__ = ["StrictOption", "leave", "register"]

StrictOption = Annotated[
    bool, typer.Option("--strict", help="Status 3 where something could not be decoded and is silent.")
]


def leave(status: int) -> None:
    """Leave with the status, unless it is 0."""
    if status:
        raise typer.Exit(status)


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
        leave(run(captures, output, form, call, codec, options, keylog=keylog, strict=strict))
