"""``callreplay watch``: import captures as they arrive in a folder."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callreplay.cli.database import (
    DatabaseOption,
    DataOption,
    JsonLinesOption,
    SpeechOption,
    TenantOption,
    TimezoneOption,
    database,
)
from callreplay.cli.printable import json_text, printable
from callreplay.cli.signals import setter
from callreplay.cli.volume_options import VolumeId, VolumeName, VolumePath, wanted

if TYPE_CHECKING:
    from callreplay.importing.importer import Outcome

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="watch")
    def watch(
        folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where captures arrive.")],
        after: Annotated[
            str, typer.Option(help="What becomes of imported captures: move, delete or keep.")
        ] = "move",
        done: Annotated[
            Path | None, typer.Option(help="Where imported ones go; FOLDER/done if not given.")
        ] = None,
        failed: Annotated[
            Path | None, typer.Option(help="Where bad ones go; FOLDER/failed if not given.")
        ] = None,
        settle: Annotated[
            float, typer.Option(help="Seconds a file must rest before it counts as finished.")
        ] = 2.0,
        linger: Annotated[
            float | None,
            typer.Option(
                min=0,
                help="Seconds the next file of a rotation is waited for where a call goes on; "
                "if not given, twice what the last one spans.",
            ),
        ] = None,
        once: Annotated[bool, typer.Option("--once", help="Import what is there, then leave.")] = False,
        tenant: TenantOption = "default",
        volume_id: VolumeId = None,
        volume_name: VolumeName = "",
        volume_path: VolumePath = None,
        timezone: TimezoneOption = "",
        speech: SpeechOption = False,
        as_json: JsonLinesOption = False,
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Import captures as they are finished; runs until it is told to stop (SIGINT, SIGTERM)."""
        from callreplay.importing import importer
        from callreplay.importing.watching import Watch
        from callreplay.store import accounts, activity

        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, setter(stop))
        with database(url, data, build=True, volume=True) as opened:
            tenant_id, zone = accounts.open_tenant(opened, tenant)
            accounts.zone_of(timezone or zone)
            with opened.connection() as connection:
                volume = wanted(connection, volume_id, volume_name, volume_path)
            job = importer.Job(opened.url, tenant_id, timezone or zone, volume, speech=speech)
            watching = Watch(folder, job, after, done, failed, settle, linger)
            print(printable(f"callreplay: watching {watching.folder}"), file=sys.stderr)

            def report(outcome: Outcome) -> None:
                activity.note(opened, "watch", **outcome.figures())
                for call in outcome.calls if as_json else ():
                    typer.echo(json_text(call))
                sys.stdout.flush()
                for warning in outcome.warnings:
                    print(printable(f"callreplay: warning: {outcome.capture}: {warning}"), file=sys.stderr)
                text = (
                    outcome.error
                    or f"{outcome.added} calls added, {len(outcome.calls) - outcome.added} known"
                )
                print(printable(f"callreplay: {outcome.capture}: {text}"), file=sys.stderr, flush=True)

            watching.run(stop, report, once)
