"""``callreplay volumes``: where the files of calls are."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from callreplay.cli.database import DatabaseOption, DataOption, JsonOption, database
from callreplay.cli.printable import printable
from callreplay.cli.sizes import parse_size, show_size
from callreplay.cli.tables import ColumnsOption, CsvOption, Lines, print_rows
from callreplay.cli.volume_options import VolumeId, VolumeName, VolumePath, needed

__all__ = ["register"]


def _as_json(volume: Any) -> dict[str, Any]:
    return {
        "id": volume.id,
        "name": volume.name,
        "path": str(volume.path),
        "quota": volume.quota_bytes,
        "reserved": volume.reserved_bytes,
        "used": volume.used_bytes,
        "free": volume.free_bytes,
        "retired": volume.retired,
        "warning": volume.warning,
    }


def _add_listing(group: typer.Typer) -> None:
    @group.command(name="list")
    def listing(
        as_json: JsonOption = False,
        as_csv: CsvOption = False,
        columns: ColumnsOption = "",
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Show the volumes with their quota, use and warnings."""
        from callreplay.store import volumes

        with database(url, data) as opened, opened.connection() as connection:
            found = volumes.listing(connection)
        plain = [_as_json(volume) for volume in found]
        if print_rows(plain, as_json=as_json, as_csv=as_csv, columns=columns):
            return
        table = Lines("id", "name", "path", "quota", "reserved", "used", "free", "state")
        for volume in found:
            table.add_row(
                str(volume.id),
                printable(volume.name),
                printable(volume.path),
                show_size(volume.quota_bytes) if volume.quota_bytes else "unlimited",
                show_size(volume.reserved_bytes),
                show_size(volume.used_bytes),
                _free(volume.free_bytes),
                ", ".join(filter(None, ("retired" if volume.retired else "", volume.warning))) or "in use",
            )
        table.print()


def _free(octets: int) -> str:
    from callreplay.store.objects import UNBOUNDED

    return "?" if octets < 0 else "unlimited" if octets >= UNBOUNDED else show_size(octets)


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="Volumes: add, list, change, join, move, retire.")
    app.add_typer(group, name="volumes")
    _add_listing(group)

    @group.command(name="add")
    def add(
        path: Annotated[
            str,
            typer.Argument(
                metavar="FOLDER", help="Made where missing; or s3://BUCKET/PREFIX, gs://…, az://…."
            ),
        ],
        name: Annotated[str, typer.Option(help="A name to call it by; Volume ID if not given.")] = "",
        quota: Annotated[
            int, typer.Option(parser=parse_size, help="The most to put on it (500G); 0: no limit.")
        ] = "0",  # type: ignore[assignment]  # typer parses defaults too
        reserved: Annotated[
            int, typer.Option(parser=parse_size, help="Room kept for new calls (50G).")
        ] = "0",  # type: ignore[assignment]
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Add a folder, or a place on an object store, as a volume."""
        from callreplay.store import volumes

        with database(url, data, build=True) as opened, opened.connection() as connection:
            volume = volumes.add(connection, path, name=name, quota_bytes=quota, reserved_bytes=reserved)
        typer.echo(f"volume {volume.id}: {printable(volume.path)}")

    _add_change(group)
    _add_join(group)
    _add_move(group)
    _add_retire(group)


def _add_change(group: typer.Typer) -> None:
    @group.command(name="change")
    def change(
        number: VolumeId = None,
        name: VolumeName = "",
        path: VolumePath = None,
        new_name: Annotated[str, typer.Option("--name", help="Its new name.")] = "",
        quota: Annotated[
            int | None, typer.Option(parser=parse_size, help="The most to put on it (500G); 0: no limit.")
        ] = None,
        reserved: Annotated[
            int | None, typer.Option(parser=parse_size, help="Room kept for new calls (50G).")
        ] = None,
        use: Annotated[
            bool, typer.Option("--use", help="Let one that was retired take calls again.")
        ] = False,
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Give a volume another name, quota or reserve."""
        from callreplay.store import volumes

        with database(url, data) as opened, opened.connection() as connection:
            volume = volumes.change(
                connection,
                needed(connection, number, name, path),
                name=new_name or None,
                quota_bytes=quota,
                reserved_bytes=reserved,
                in_use=use,
            )
        typer.echo(f"volume {volume.id}: {printable(volume.name)}")


def _add_join(group: typer.Typer) -> None:
    @group.command(name="join")
    def join(
        number: VolumeId = None,
        name: VolumeName = "",
        path: VolumePath = None,
        into_id: Annotated[int | None, typer.Option(help="The volume its calls move to, by its id.")] = None,
        into_name: Annotated[str, typer.Option(help="The volume its calls move to, by its name.")] = "",
        into_path: Annotated[
            str | None, typer.Option(help="The volume its calls move to, by its path.")
        ] = None,
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Move every call of one volume to another."""
        from callreplay.store import jobs, joining, volumes

        with database(url, data) as opened, opened.connection() as connection:
            volumes.reconcile(connection)
            source = needed(connection, number, name, path)
            target = needed(connection, into_id, into_name, into_path)
            connection.commit()
            what = f"{source.name} → {target.name}"
            with jobs.running(opened, "join", what=what, total=joining.calls_on(connection, source)) as job:
                connection.commit()
                done = joining.join(connection, source, target, step=job.step)
                job.result = {"calls": done.calls, "bytes": done.size_bytes, "failed": len(done.failed)}
                job.done = done.calls + len(done.failed)
        for line in done.failed:
            print(f"callreplay: {line}", file=sys.stderr)
        said = f"{done.calls} calls ({show_size(done.size_bytes)}) moved from volume {source.id} to volume {target.id}"
        typer.echo(said + (f", {len(done.failed)} stay" if done.failed else ""))
        if done.stopped:
            print("callreplay: stopped on the page of jobs", file=sys.stderr)
        if done.failed or done.stopped:
            raise typer.Exit(1)


def _add_move(group: typer.Typer) -> None:
    @group.command(name="move")
    def move(
        folder: Annotated[
            str, typer.Argument(metavar="FOLDER", help="Where the volume is now: a folder or a URL.")
        ],
        number: VolumeId = None,
        name: VolumeName = "",
        path: VolumePath = None,
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Tell that a volume was moved or mounted elsewhere; its marker in FOLDER proves it."""
        from callreplay.store import volumes

        with database(url, data) as opened, opened.connection() as connection:
            volume = volumes.move(connection, needed(connection, number, name, path), folder)
        typer.echo(f"volume {volume.id}: {volume.path}")


def _add_retire(group: typer.Typer) -> None:
    @group.command(name="retire")
    def retire(
        number: VolumeId = None,
        name: VolumeName = "",
        path: VolumePath = None,
        url: DatabaseOption = "",
        data: DataOption = None,
    ) -> None:
        """Stop new calls on a volume; one without calls is removed from the list."""
        from callreplay.store import volumes

        with database(url, data) as opened, opened.connection() as connection:
            volume = needed(connection, number, name, path)
            removed = volumes.retire(connection, volume)
        state = "removed" if removed else "takes no new calls; those on it stay"
        typer.echo(f"volume {volume.id}: {state}")
