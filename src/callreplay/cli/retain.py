"""``callreplay retain``: let calls go whose time has come."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from callreplay.cli.database import DatabaseOption, DataOption, JsonLinesOption, TenantOption, database
from callreplay.cli.sizes import show_size
from callreplay.errors import ArgumentError

if TYPE_CHECKING:
    from callreplay.store.retention import Removal

__all__ = ["Told", "register"]


class Told:
    """Calls that go, or would, as a command tells them: a line each where asked for, and what they come to."""

    def __init__(self, dry_run: bool, as_json: bool) -> None:
        self._dry_run, self._as_json = dry_run, as_json
        self._count = self._octets = 0
        self._stay: dict[str, int] = {}

    def take(self, removal: Removal) -> None:
        """One more."""
        if removal.error:
            self._stay[removal.error] = self._stay.get(removal.error, 0) + 1
        else:
            self._count += 1
            self._octets += removal.size_bytes
        start = removal.started_at.isoformat()
        if self._as_json:
            line = {
                "callId": str(removal.uuid),
                "tenant": removal.tenant,
                "start": start,
                "reason": removal.reason,
                "bytes": removal.size_bytes,
                **({"error": removal.error} if removal.error else {}),
            }
            typer.echo(json.dumps(line))
        elif self._dry_run and not removal.error:
            typer.echo(f"{start}  {removal.uuid}  {removal.reason}  {show_size(removal.size_bytes)}")

    def end(self) -> None:
        """The sum; status 1 where calls stay that should go."""
        verb = "would go" if self._dry_run else "removed"
        for error, calls in self._stay.items():
            print(f"callreplay: {calls} calls stay: {error}", file=sys.stderr)
        print(f"{self._count} calls ({show_size(self._octets)}) {verb}", file=sys.stderr)
        if self._stay:
            raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="retain")
    def retain(
        policy: Annotated[
            str,
            typer.Option("--set", help="First set the tenant's policy: forever, period, backup or space."),
        ] = "",
        days: Annotated[int | None, typer.Option(help="For the policy 'period', or with --tag.")] = None,
        tag: Annotated[
            str,
            typer.Option(
                help="First give calls with this tag --days of their own, whatever the policy; without days none."
            ),
        ] = "",
        backed_up: Annotated[
            datetime | None,
            typer.Option(
                "--backed-up",
                help="First note that what was imported before this time (UTC) is in a backup; 'backup' removes it.",
            ),
        ] = None,
        dry_run: Annotated[
            bool,
            typer.Option(
                "--dry-run", help="Show what would go (with --set: under that policy); change nothing."
            ),
        ] = False,
        as_json: JsonLinesOption = False,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Apply every tenant's retention policy: oldest first, never under legal hold, each removal audited."""
        from callreplay.store import jobs, retention, volumes

        if tag and policy:
            raise ArgumentError("--tag: --set goes by itself")
        if dry_run and (tag or backed_up):
            raise ArgumentError("--dry-run: --tag and --backed-up change the database")
        told = Told(dry_run, as_json)
        with database(url, data) as opened:
            tried = retention.Policy(tenant, policy, days) if policy and dry_run else None
            if not dry_run:
                with opened.connection() as connection:
                    volumes.reconcile(connection)
                    if policy:
                        retention.set_policy(connection, tenant, policy, days)
                    if tag:
                        retention.set_tag(connection, tenant, tag, days)
                    if backed_up:
                        noted = retention.note_backup(connection, tenant, backed_up.replace(tzinfo=UTC))
                        print(f"{noted} calls noted as backed up", file=sys.stderr)
            watching = nullcontext() if dry_run else jobs.running(opened, "retain")
            with watching as job:
                for removal in jobs.counted(job, retention.retain(opened, dry_run=dry_run, tried=tried)):
                    told.take(removal)
        told.end()
