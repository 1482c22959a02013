"""``callreplay import``: captures into the database."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callreplay.cli.database import (
    DatabaseOption,
    DataOption,
    JsonLinesOption,
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
    from callreplay.store.jobs import Job

__all__ = ["register"]


class _Summary:
    """Totals of an import, and its exit code."""

    def __init__(self) -> None:
        self.captures = self.added = self.known = self.without_media = self.octets = self.skipped = 0
        self.bad = self.failed = 0
        self.is_stopped = False
        self.start = time.monotonic()

    def take(self, outcome: Outcome, named: bool) -> None:
        if outcome.bad and not named:
            # A folder may hold anything; only what was named must be a capture.
            self.skipped += 1
            return
        self.captures += outcome.files
        self.octets += outcome.octets
        self.added += outcome.added
        self.known += len(outcome.calls) - outcome.added
        self.without_media += sum(not call["legs"] for call in outcome.calls)
        self.bad += bool(outcome.error) and outcome.bad
        self.failed += bool(outcome.error) and not outcome.bad

    def line(self, dry_run: bool) -> str:
        seconds = max(time.monotonic() - self.start, 1e-3)
        parts = [
            f"{self.captures} captures ({show_size(self.octets)})",
            f"{self.added} calls {'to add' if dry_run else 'added'}",
            f"{self.known} known already",
        ]
        parts += [f"{self.without_media} without media"] if self.without_media else []
        parts += [f"{self.skipped} other files passed over"] if self.skipped else []
        parts += [f"{self.bad + self.failed} failed"] if self.bad + self.failed else []
        return f"{', '.join(parts)}; {seconds:.1f} s, {show_size(round(self.octets / seconds))}/s"

    @property
    def exit_code(self) -> int:
        return 1 if self.failed or self.is_stopped else 2 if self.bad else 0


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


def _goes_on(job: Job, outcome: Outcome, summary: _Summary) -> bool:
    """Tell who watches what has been done; whether it is to go on."""
    job.result = {"calls": summary.added, "failed": summary.failed + summary.bad}
    return job.step(job.done + outcome.files)


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
        jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=256, help="Captures at a time.")] = 1,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Say what would be added; store nothing.")
        ] = False,
        as_json: JsonLinesOption = False,
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Read captures with SIP or Skinny and RTP, and file every call of them once."""
        from callreplay.importing import importer, sources, workers
        from callreplay.store import accounts, activity
        from callreplay.store import jobs as work

        unread: list[str] = []
        chosen = list(sources.captures(paths, unread))
        named = dict(chosen)
        summary = _Summary()
        summary.failed += len(unread)
        for line in unread:
            print(f"callreplay: {line}", file=sys.stderr)
        if not chosen:
            print(f"callreplay: no file was found in {', '.join(paths)}", file=sys.stderr)
        with database(url, data, build=True, volume=True) as opened:
            tenant_id, zone = accounts.open_tenant(opened, tenant)
            accounts.zone_of(timezone or zone)
            with opened.connection() as connection:
                volume = wanted(connection, volume_id, volume_name, volume_path)
            job = importer.Job(opened.url, tenant_id, timezone or zone, volume, dry_run)
            what, total = " ".join(paths), len(chosen)
            watching = (
                nullcontext()
                if dry_run
                else work.running(opened, "import", what=what, tenant_id=tenant_id, total=total)
            )
            with watching as watched, _bar(total) as bar:
                for outcome in workers.import_captures(job, (path for path, _ in chosen), jobs):
                    was_named = named[Path(outcome.capture)]
                    summary.take(outcome, was_named)
                    _show(outcome, as_json)
                    if not dry_run and (was_named or not outcome.bad):
                        activity.note(opened, "import", **outcome.figures())
                    if outcome.error and (was_named or not outcome.bad):
                        print(printable(f"callreplay: {outcome.capture}: {outcome.error}"), file=sys.stderr)
                    if bar is not None:
                        bar[0].advance(bar[1], outcome.files)
                    if watched is not None and not _goes_on(watched, outcome, summary):
                        print("callreplay: stopped on the page of jobs", file=sys.stderr)
                        summary.is_stopped = True
                        break
        print(summary.line(dry_run), file=sys.stderr)
        if summary.exit_code:
            raise typer.Exit(summary.exit_code)
