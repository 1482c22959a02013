"""``callreplay batch``: many captures to many files."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from callreplay.batch import (
    BatchError,
    BatchSettings,
    Job,
    Row,
    Shards,
    Summary,
    find_jobs,
    read_rows,
    run_batch,
)
from callreplay.batch.engine import SHARDS
from callreplay.cli.database import DatabaseOption, DataOption, TenantOption, UserOption, database
from callreplay.cli.options import CodecOption, with_output_options
from callreplay.cli.printable import printable
from callreplay.cli.reading import parse_codecs
from callreplay.cli.signals import say
from callreplay.cli.sizes import parse_memory
from callreplay.cli.transcode import StrictOption
from callreplay.cli.transcoding import UNDECODED
from callreplay.errors import ArgumentError
from callreplay.outputs.atomic import AtomicFile
from callreplay.outputs.formats import format_of
from callreplay.outputs.options import Options

__all__ = ["register"]


class _Teller:
    """Rows as events for machines; elsewhere errors alone."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def start(self, jobs: Sequence[Job]) -> None:
        pass

    def row(self, row: Row) -> None:
        if self._as_json:
            print(json.dumps({"event": "row", **asdict(row)}), flush=True)
        elif row.error:
            print(printable(f"callreplay: {row.input}: {row.error}"), file=sys.stderr)


class _Bar(_Teller):
    """A bar on the terminal. It counts octets of input: calls are not done in their order, and long ones first."""

    def __init__(self, progress: Any) -> None:
        super().__init__(as_json=False)
        self._progress = progress
        self._task = progress.add_task("transcoding", total=None, state="")
        self._seen, self._began = Summary(), time.monotonic()
        self._sizes: dict[str, int] = {}

    def start(self, jobs: Sequence[Job]) -> None:
        self._sizes = {job.captures[0]: max(job.size, 1) for job in jobs}
        self._progress.update(self._task, total=sum(self._sizes.values()))

    def row(self, row: Row) -> None:
        super().row(row)
        seen = self._seen
        seen.add(row)
        speed = _speed(seen, time.monotonic() - self._began)
        state = (
            f"{seen.outputs:,} calls  {seen.audio_s / 3600:,.1f} h  {speed:,.0f} x real time  "
            f"{seen.errors:,} errors"
        )
        done = self._sizes.get(row.input, 0) / max(row.calls, 1)
        self._progress.update(self._task, advance=done, state=state)


def _speed(summary: Summary, elapsed_s: float) -> float:
    return summary.audio_s / elapsed_s if elapsed_s > 0 else 0.0


@contextmanager
def _watching(as_json: bool) -> Iterator[_Teller]:
    """Show rows as they come: JSON events for machines, a bar on a terminal, errors alone elsewhere."""
    if as_json or not sys.stderr.isatty():
        yield _Teller(as_json)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bar(progress)


def _looking(as_json: bool) -> AbstractContextManager[object]:
    """Say on a terminal that captures are being looked for: of a million that takes half a minute."""
    if as_json or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status("looking for captures")


@contextmanager
def _interruptible(as_json: bool) -> Iterator[Callable[[], bool]]:
    """The first SIGINT or SIGTERM asks the run to end well; a second SIGINT ends it at once."""
    asked: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if not as_json:
            say("callreplay: finishing what is in flight; once more to stop at once")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(slots=True)
class _Watched:
    """A batch of stored calls, as the page of jobs shows it."""

    job: Any

    def start(self, todo: Sequence[Job]) -> None:
        self.job.total = len(todo)

    def row(self, row: Row) -> None:
        self.job.step()
        self.job.result["failed" if row.error else "calls"] = 1 + self.job.result.get(
            "failed" if row.error else "calls", 0
        )


def _run(
    jobs: list[Job],
    settings: BatchSettings,
    engine: str,
    address: str,
    as_json: bool,
    watched: _Watched | None = None,
) -> Summary:
    arguments: dict[str, Any] = {}
    run: Callable[..., Summary] = run_batch
    if engine == "ray":
        from callreplay.batch.ray_engine import run_batch_on_ray

        run, arguments["address"] = run_batch_on_ray, address
    elif engine != "local":
        raise ArgumentError(f"engine must be local or ray, not {engine!r}")
    with _watching(as_json) as watch, _interruptible(as_json) as stop:
        if watched is None:
            return run(jobs, settings, on_start=watch.start, on_row=watch.row, stop=stop, **arguments)
        seen, asked = (watch, watched), watched.job.asked
        summary = run(
            jobs,
            settings,
            on_start=lambda todo: [each.start(todo) for each in seen],
            on_row=lambda row: [each.row(row) for each in seen],
            stop=lambda: stop() or asked.is_set(),
            **arguments,
        )
        watched.job.is_cancelled = summary.interrupted
        return summary


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="batch")
    @with_output_options
    def batch(
        sources: Annotated[
            list[str] | None,
            typer.Argument(
                help="Captures, folders, globs, manifests (.jsonl, .parquet).", show_default=False
            ),
        ] = None,
        *,
        output: Annotated[
            str, typer.Option("--output", "-o", help="Folder, or s3://, gs://, az:// with a prefix.")
        ],
        form: Annotated[
            str,
            typer.Option(
                "--format",
                help="wav, spx, png, json, mp3, opus, flac, m4a; shards for a data set of the talk.",
            ),
        ] = "wav",
        container: Annotated[
            str, typer.Option(help="Of shards: webdataset, parquet (for datasets), lhotse.")
        ] = "webdataset",
        piece_seconds: Annotated[
            float, typer.Option(help="Of shards: the longest piece; cut where nobody talks.")
        ] = 30.0,
        shard_size: Annotated[
            int | None,
            typer.Option(parser=parse_memory, help="Of shards: audio in each, about; 256M if not given."),
        ] = None,
        native_rate: Annotated[
            bool,
            typer.Option("--native-rate", help="Of shards: each call at its own rate instead of 16000."),
        ] = False,
        workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
        memory: Annotated[
            int | None,
            typer.Option(parser=parse_memory, help="For all workers together; 512M for each if not given."),
        ] = None,
        max_errors: Annotated[
            int | None, typer.Option(min=0, help="Stop after more than so many errors.")
        ] = None,
        resume: Annotated[bool, typer.Option(help="Skip what the manifest says is whole.")] = True,
        manifest: Annotated[str, typer.Option(help="The result manifest, if not in the destination.")] = "",
        report: Annotated[Path | None, typer.Option(help="Draw this run into a PNG.")] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help="Events as JSON lines on standard output.")
        ] = False,
        engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
        address: Annotated[str, typer.Option(help="Of the Ray cluster.")] = "",
        codec: CodecOption = [],  # noqa: B006
        query: Annotated[
            str | None, typer.Option(help="Stored calls, as the Transcoder: 'callerNumber=…&beginTime=…'.")
        ] = None,
        tenant: TenantOption = "default",
        user: UserOption = "",
        url: DatabaseOption = "",
        data: DataOption = None,
        speech: Annotated[
            bool,
            typer.Option("--speech", help="Rows tell who talks how long (each leg is decoded once more)."),
        ] = False,
        strict: StrictOption = False,
        options: Options,
    ) -> None:
        """Transcode many captures on every core; what is whole already is skipped."""
        if not sources and query is None:
            raise ArgumentError("nothing to do: name captures, folders or manifests, or use --query")
        if report:
            # A place that cannot be written is found now, not after hours.
            report.parent.mkdir(parents=True, exist_ok=True)
            AtomicFile(report).abort()
        with _looking(as_json):
            jobs = find_jobs(sources or [], parse_codecs(codec))
        shards = Shards(container, piece_seconds, shard_size or 256 << 20, native_rate)
        name = form if form == SHARDS else format_of(form).name
        settings = BatchSettings(
            output, name, options, workers, memory or 0, max_errors, resume, manifest, speech, shards
        )
        began = time.time()
        summary, stopped = None, ""
        try:
            with _stored(query, output, tenant, user, url, data) as (found, watched):
                jobs += found
                summary = _run(jobs, settings, engine, address, as_json, watched)
        except BatchError as error:
            summary, stopped = error.summary, str(error)
        if summary:
            _tell(summary, as_json)
        if not jobs:
            where = ", ".join(sources or []) or "the database"
            print(f"callreplay: no capture was found in {where}", file=sys.stderr)
        if stopped:
            print(f"callreplay: {stopped}", file=sys.stderr)
        if report and summary:
            _draw(report, settings.manifest_path(), began if summary.outputs + summary.errors else 0.0)
        if not summary or stopped or summary.errors or summary.interrupted:
            raise typer.Exit(1)
        if strict and summary.undecoded:
            raise typer.Exit(UNDECODED)


@contextmanager
def _stored(
    query: str | None, output: str, tenant: str, user: str, url: str, data: Path | None
) -> Iterator[tuple[list[Job], _Watched | None]]:
    """The stored calls that a query finds, and the job that the page of jobs shows of them; nothing without a query."""
    if query is None:
        yield [], None
        return
    from callreplay.batch.stored import find_stored_jobs
    from callreplay.store import accounts
    from callreplay.store import jobs as work

    with database(url, data) as opened:
        tenant_id, _ = accounts.open_tenant(opened, tenant)
        found = find_stored_jobs(opened, tenant, query, user)
        what = f"{query or 'all calls'} → {output}"
        with work.running(opened, "batch", what=what, tenant_id=tenant_id, total=len(found)) as job:
            yield found, _Watched(job)


def _tell(summary: Summary, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"event": "summary", **asdict(summary)}), flush=True)
        return
    print(
        f"{summary.outputs:,} calls, {summary.audio_s / 3600:,.2f} h of audio in {summary.elapsed_s:,.1f} s "
        f"({_speed(summary, summary.elapsed_s):,.0f} x real time), {summary.errors:,} errors, "
        f"{summary.skipped:,} inputs were whole already",
        file=sys.stderr,
    )
    if summary.undecoded:
        print(
            f"callreplay: warning: of {summary.undecoded:,} outputs something could not be decoded and is silent "
            "(the manifest's warnings say what)",
            file=sys.stderr,
        )
    if summary.interrupted:
        print("callreplay: interrupted; the same command goes on where it stopped", file=sys.stderr)


def _draw(report: Path, manifest: Path, since: float) -> None:
    """Draw this run, not the one before that it went on with; all of them where there was nothing left to do."""
    from callreplay.batch.report import report_png

    rows = (row for row in read_rows(manifest) if row.finished and row.finished >= since)
    first = next(rows, None)
    if first is None:
        print(f"callreplay: {report}: not drawn, as there is no row", file=sys.stderr)
        return
    with AtomicFile(report) as out:
        out.write(report_png(chain([first], rows)))
