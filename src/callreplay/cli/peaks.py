"""``callreplay peaks``: waveform data for web players."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from callreplay.cli.options import CallOption, KeyLogOption, with_output_options
from callreplay.cli.transcoding import run
from callreplay.outputs.options import Options

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="peaks")
    @with_output_options
    def peaks(
        captures: Annotated[
            list[Path],
            typer.Argument(
                metavar="CAPTURE...",
                help="A capture, or the files of one call in any order; - is standard input.",
            ),
        ],
        output: Annotated[
            str, typer.Option("--output", "-o", help="x.json or x.dat; - for standard output.")
        ] = "-",
        call: CallOption = None,
        codec: Annotated[list[str], typer.Option("--codec", help="PT=NAME/RATE for a payload type.")] = [],  # noqa: B006
        keylog: KeyLogOption = None,
        *,
        options: Options,
    ) -> None:
        """Write the peaks of a call as peaks.js and wavesurfer.js read them (audiowaveform JSON or .dat)."""
        run(
            captures,
            output,
            "dat" if output.lower().endswith(".dat") else "peaks",
            call,
            codec,
            options,
            keylog=keylog,
        )
