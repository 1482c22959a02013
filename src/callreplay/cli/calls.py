"""``callreplay calls``: find calls by the Transcoder's parameters, transcode the first one, hold and release."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer

from callreplay.cli.database import (
    DatabaseOption,
    DataOption,
    JsonLinesOption,
    TenantOption,
    UserOption,
    database,
)
from callreplay.cli.options import with_output_options
from callreplay.cli.tables import ColumnsOption, CsvOption, Lines, print_rows
from callreplay.cli.transcode import StrictOption, leave
from callreplay.errors import ArgumentError
from callreplay.outputs.options import Options
from callreplay.store.query import ROWS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["register"]


def _with_query(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command(..., query: dict[str, str])`` one option per parameter: ``--caller-number``, or as in URLs."""
    rows = [row for row in ROWS if row.on_cli]

    def wrapper(**values: Any) -> None:
        query = {row.url: given for row in rows if (given := values.pop(row.url)) is not None}
        command(**values, query=query)

    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "query"]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    added = [
        inspect.Parameter(
            row.url,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None, typer.Option(row.flag, help=row.help, rich_help_panel="Which calls")
            ],
        )
        for row in rows
    ]
    wrapper.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
    return wrapper


def _table(found: list[dict[str, Any]]) -> None:
    table = Lines("start", "seconds", "caller", "called", "status", "callId")
    for call in found:
        parties = []
        for side in ("caller", "called"):
            number, name = call[f"{side}Number"] or call[f"{side}IP"] or "", call[f"{side}Name"]
            parties.append(f"{number} {name}".strip())
        status = call["status"] or ("inferred" if call["inferred"] else "")
        table.add_row(call["beginTime"], f"{call['duration']:.1f}", *parties, status, call["callId"])
    table.print()


def _add_find(group: typer.Typer) -> None:
    @group.command(name="find")
    @_with_query
    def find(
        as_json: Annotated[bool, typer.Option("--json", help="As the Transcoder's format=json.")] = False,
        limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
        newest: Annotated[bool, typer.Option("--newest", help="The newest first.")] = False,
        as_csv: CsvOption = False,
        columns: ColumnsOption = "",
        tenant: TenantOption = "default",
        user: UserOption = "",
        url: DatabaseOption = "",
        data: DataOption = None,
        *,
        query: dict[str, str],
    ) -> None:
        """Show the calls that meet every parameter given, the earliest first."""
        from callreplay.store import accounts, people, records, search

        with database(url, data) as opened:
            tenant_id, zone_name = accounts.open_tenant(opened, tenant)
            reach = people.reach_of(opened, tenant_id, user, "search")
            zone = ZoneInfo(zone_name)
            wanted = search.CallQuery.parse(query, zone)
            with opened.connection() as connection:
                rows = search.find(connection, reach, wanted, limit=limit, newest_first=newest)
                found = [records.as_json(call, zone) for call in records.complete(connection, rows)]
        if not print_rows(found, as_json=as_json, as_csv=as_csv, columns=columns):
            _table(found)
        if len(found) == limit:
            print(f"callreplay: only the first {limit} are shown", file=sys.stderr)


def _add_transcode(group: typer.Typer) -> None:
    @group.command(name="transcode")
    @with_output_options
    @_with_query
    def transcode(
        output: Annotated[str, typer.Option("--output", "-o", help="File to write; - for standard output.")],
        form: Annotated[str, typer.Option("--format", help="Instead of by the file's suffix.")] = "",
        tenant: TenantOption = "default",
        user: UserOption = "",
        url: DatabaseOption = "",
        data: DataOption = None,
        strict: StrictOption = False,
        *,
        query: dict[str, str],
        options: Options,
    ) -> None:
        """Turn the first call that meets every parameter given into audio, a picture or peaks."""
        from callreplay.cli.transcoding import run
        from callreplay.store import accounts, people, records, search

        with database(url, data) as opened:
            tenant_id, zone_name = accounts.open_tenant(opened, tenant)
            reach = people.reach_of(opened, tenant_id, user)
            wanted = search.CallQuery.parse(query, ZoneInfo(zone_name))
            with opened.connection() as connection:
                row = search.first(connection, reach, wanted)
                if row is None:
                    raise ArgumentError("no call meets the parameters")
                (call,) = records.complete(connection, [row])
        files = call.recordings()
        if not files:
            raise ArgumentError(
                f"call {call.uuid} has no media ({call.row['status'] or 'nothing was captured'})"
            )
        leave(run(files, output, form, None, [], options, strict=strict))


def _key(uuid: str) -> UUID:
    try:
        return UUID(uuid)
    except ValueError:
        raise ArgumentError(f"callId: {uuid!r} is no uuid") from None


def _add_tag(group: typer.Typer) -> None:
    @group.command(name="tag")
    def tag(
        call: Annotated[str, typer.Argument(metavar="UUID")],
        add: Annotated[list[str], typer.Option("--add", help="A tag that it gets.")] = [],  # noqa: B006
        remove: Annotated[list[str], typer.Option("--remove", help="A tag that it loses.")] = [],  # noqa: B006
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Tag a call: a tag may have a retention of its own (retain --tag)."""
        from callreplay.store import retention

        key = _key(call)
        if not all([*add, *remove]):
            raise ArgumentError("a tag has a name")
        with database(url, data) as opened, opened.connection() as connection:
            if not retention.tag(connection, key, add, remove):
                raise ArgumentError(f"there is no call {call}")


def _add_hold(group: typer.Typer) -> None:
    def change(uuid: str, held: bool, reason: str, url: str, data: Path | None) -> None:
        from callreplay.store import retention

        key = _key(uuid)
        with database(url, data) as opened, opened.connection() as connection:
            if not retention.hold(connection, key, held, reason=reason):
                raise ArgumentError(f"there is no call {uuid}")

    @group.command(name="hold")
    def hold(
        call: Annotated[str, typer.Argument(metavar="UUID")],
        reason: Annotated[str, typer.Option(help="For the audit log.")] = "",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Put a call under legal hold: retention leaves it alone."""
        change(call, True, reason, url, data)

    @group.command(name="release")
    def release(
        call: Annotated[str, typer.Argument(metavar="UUID")],
        reason: Annotated[str, typer.Option(help="For the audit log.")] = "",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Release a call from legal hold."""
        change(call, False, reason, url, data)


def _add_erase(group: typer.Typer) -> None:
    @group.command(name="erase")
    def erase(
        number: Annotated[str, typer.Argument(metavar="NUMBER", help="As the calls have it.")],
        reason: Annotated[str, typer.Option(help="For the audit log.")] = "",
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Show what would go; change nothing.")
        ] = False,
        as_json: JsonLinesOption = False,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Remove every call that a number made or got, with its recordings; calls under legal hold stay."""
        from callreplay.cli.retain import Told
        from callreplay.store import accounts, jobs, retention

        told = Told(dry_run, as_json)
        with database(url, data) as opened:
            tenant_id, _ = accounts.open_tenant(opened, tenant)
            removals = retention.erase(opened, tenant, number, dry_run=dry_run, reason=reason)
            watching = (
                nullcontext() if dry_run else jobs.running(opened, "erase", what=number, tenant_id=tenant_id)
            )
            with watching as job:
                for removal in jobs.counted(job, removals):
                    told.take(removal)
        told.end()


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        no_args_is_help=True, help="Stored calls: find, transcode, hold, release, tag, erase."
    )
    app.add_typer(group, name="calls")
    _add_find(group)
    _add_transcode(group)
    _add_hold(group)
    _add_tag(group)
    _add_erase(group)
