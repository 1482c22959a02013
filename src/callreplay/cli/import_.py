"""``callreplay import``: captures into the database."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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
from callreplay.cli.sizes import show_size
from callreplay.cli.volume_options import VolumeId, VolumeName, VolumePath, wanted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from callreplay.importing.importer import Outcome
    from callreplay.importing.tally import Tally

__all__ = ["register"]


def _line(tally: Tally, began: float, dry_run: bool) -> str:
    seconds = max(time.monotonic() - began, 1e-3)
    parts = [
        f"{tally.captures} captures ({show_size(tally.octets)})",
        f"{tally.added} calls {'to add' if dry_run else 'added'}",
        f"{tally.known} known already",
    ]
    parts += [f"{tally.without_media} without media"] if tally.without_media else []
    parts += [f"{tally.skipped} other files passed over"] if tally.skipped else []
    parts += [f"{tally.bad + tally.failed} failed"] if tally.bad + tally.failed else []
    return f"{', '.join(parts)}; {seconds:.1f} s, {show_size(round(tally.octets / seconds))}/s"


def _exit_code(tally: Tally) -> int:
    return 1 if tally.failed or tally.is_stopped else 2 if tally.bad else 0


@contextmanager
def _bar(total: int) -> Iterator[tuple[Progress, TaskID] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress, progress.add_task("importing", total=total)


def _show(outcome: Outcome, as_json: bool) -> None:
    for call in outcome.calls if as_json else ():
        typer.echo(json_text(call))
    for warning in outcome.warnings:
        print(printable(f"callreplay: warning: {outcome.capture}: {warning}"), file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="import")
    def import_(
        paths: Annotated[
            list[str], typer.Argument(metavar="PATH…", help="Captures, folders of them, or globs.")
        ],
        tenant: TenantOption = "default",
        volume_id: VolumeId = None,
        volume_name: VolumeName = "",
        volume_path: VolumePath = None,
        timezone: TimezoneOption = "",
        speech: SpeechOption = False,
        jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=256, help="Captures at a time.")] = 1,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Say what would be added; store nothing.")
        ] = False,
        as_json: JsonLinesOption = False,
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Read captures with SIP or Skinny and RTP, and file every call of them once."""
        from callreplay.importing import importer, sources
        from callreplay.importing.tally import Tally, run
        from callreplay.store import accounts
        from callreplay.store import jobs as work

        began, tally = time.monotonic(), Tally()
        unread: list[str] = []
        chosen = list(sources.captures(paths, unread))
        tally.failed += len(unread)
        for line in unread:
            print(f"callreplay: {line}", file=sys.stderr)
        if not chosen:
            print(f"callreplay: no file was found in {', '.join(paths)}", file=sys.stderr)
        with database(url, data, build=True, volume=True) as opened:
            tenant_id, zone = accounts.open_tenant(opened, tenant)
            accounts.zone_of(timezone or zone)
            with opened.connection() as connection:
                volume = wanted(connection, volume_id, volume_name, volume_path)
            job = importer.Job(opened.url, tenant_id, timezone or zone, volume, dry_run, speech=speech)
            what, total = " ".join(paths), len(chosen)
            watching = (
                nullcontext()
                if dry_run
                else work.running(opened, "import", what=what, tenant_id=tenant_id, total=total)
            )
            with watching as watched, _bar(total) as bar:
                for outcome, was_named in run(opened, job, chosen, jobs, tally, watched):
                    _show(outcome, as_json)
                    if outcome.error and (was_named or not outcome.bad):
                        print(printable(f"callreplay: {outcome.capture}: {outcome.error}"), file=sys.stderr)
                    if bar is not None:
                        bar[0].advance(bar[1], outcome.files)
                if tally.is_stopped:
                    print("callreplay: stopped on the page of jobs", file=sys.stderr)
        print(_line(tally, began, dry_run), file=sys.stderr)
        if code := _exit_code(tally):
            raise typer.Exit(code)
