"""``callreplay retain``: let calls go whose time has come."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from callreplay.cli.database import DatabaseOption, DataOption, TenantOption, database
from callreplay.cli.sizes import show_size
from callreplay.errors import ArgumentError

__all__ = ["register"]


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
        as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per call.")] = False,
        tenant: TenantOption = "default",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Apply every tenant's retention policy: oldest first, never under legal hold, each removal audited."""
        from callreplay.store import retention, volumes

        if tag and policy:
            raise ArgumentError("--tag: --set goes by itself")
        if dry_run and (tag or backed_up):
            raise ArgumentError("--dry-run: --tag and --backed-up change the database")
        count = octets = 0
        stay: dict[str, int] = {}
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
            for removal in retention.retain(opened, dry_run=dry_run, tried=tried):
                if removal.error:
                    stay[removal.error] = stay.get(removal.error, 0) + 1
                else:
                    count += 1
                    octets += removal.size_bytes
                line = {
                    "callId": str(removal.uuid),
                    "tenant": removal.tenant,
                    "start": removal.started_at.isoformat(),
                    "reason": removal.reason,
                    "bytes": removal.size_bytes,
                    **({"error": removal.error} if removal.error else {}),
                }
                if as_json:
                    typer.echo(json.dumps(line))
                elif dry_run and not removal.error:
                    typer.echo(
                        f"{line['start']}  {line['callId']}  {removal.reason}  {show_size(removal.size_bytes)}"
                    )
        verb = "would go" if dry_run else "removed"
        for error, calls in stay.items():
            print(f"callreplay: {calls} calls stay: {error}", file=sys.stderr)
        print(f"{count} calls ({show_size(octets)}) {verb}", file=sys.stderr)
        if stay:
            raise typer.Exit(1)
