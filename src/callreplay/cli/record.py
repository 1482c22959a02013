"""``callreplay record``: calls from network interfaces, standard input or capture agents, as they are held."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack
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
from callreplay.cli.sizes import parse_size
from callreplay.cli.volume_options import VolumeId, VolumeName, VolumePath, wanted

if TYPE_CHECKING:
    from callreplay.importing.importer import Outcome
    from callreplay.recording.ring import Ring
    from callreplay.recording.sources import Source

__all__ = ["register"]


def _say(text: str) -> None:
    print(printable(f"callreplay: {text}"), file=sys.stderr, flush=True)


def _sources(
    owned: ExitStack,
    stream: str,
    interfaces: list[str],
    hep: int | None,
    ring: str,
    pattern: str,
    promiscuous: bool,
    workers: int,
) -> tuple[list[Source], list[list[Ring]]]:
    """What to record from, open; ``owned`` closes it. Rings of several workers, by worker."""
    from callreplay.errors import ArgumentError
    from callreplay.recording.ring import Ring
    from callreplay.recording.sources import Agents, Interface, Stream

    if stream not in ("", "-"):
        raise ArgumentError(f"{stream}: record takes '-'; captures in files are for `callreplay import`")
    found: list[Source] = []
    rings: list[list[Ring]] = [[] for _ in range(workers if workers > 1 else 0)]
    for place, name in enumerate(name for text in interfaces for name in text.split(",") if name):
        if workers == 1:
            found.append(Interface(Ring(name, parse_size(ring), pattern, promiscuous)))
            owned.callback(found[-1].close)
        for own in rings:
            own.append(Ring(name, parse_size(ring), pattern, promiscuous, fanout=os.getpid() + place))
            owned.callback(own[-1].close)
    if hep is not None:
        found.append(Agents(hep))
        owned.callback(found[-1].close)
    if stream == "-":
        found.append(Stream(sys.stdin.fileno()))
    rings = [own for own in rings if own]
    if not found and not rings:
        raise ArgumentError("nothing to record from: -i IFACE, --hep PORT, or - for standard input")
    return found, rings


def _tell(outcome: Outcome, as_json: bool) -> None:
    for call in outcome.calls if as_json else ():
        typer.echo(json_text(call))
    sys.stdout.flush()
    for text in [*outcome.warnings, *([outcome.error] if outcome.error else [])]:
        _say(text)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="record")
    def record(
        stream: Annotated[
            str,
            typer.Argument(
                metavar="[-]", help="'-': pcap or pcapng on standard input, as tcpdump -w - writes it."
            ),
        ] = "",
        interface: Annotated[
            list[str] | None,
            typer.Option(
                "--interface",
                "-i",
                metavar="IFACE[,IFACE…]",
                help="Network interfaces, a mirror port's for one.",
            ),
        ] = None,
        hep: Annotated[
            int | None, typer.Option(metavar="PORT", help="UDP port that capture agents send HEP3 to.")
        ] = None,
        check: Annotated[
            str,
            typer.Option(
                metavar="IFACE", help="Listen for --seconds, say what is wrong, and record nothing."
            ),
        ] = "",
        seconds: Annotated[float, typer.Option(min=0.1, help="How long --check listens.")] = 10.0,
        spool: Annotated[
            Path | None,
            typer.Option(help="Folder of calls that go on; spool in the data directory if not given."),
        ] = None,
        flush: Annotated[
            float,
            typer.Option(min=0.05, max=3600, help="Seconds between syncs: what is older survives a crash."),
        ] = 1.0,
        ring: Annotated[str, typer.Option(help="Memory that the kernel keeps packets in for us.")] = "64MiB",
        workers: Annotated[
            int,
            typer.Option(
                min=1, max=64, help="Processes that split the interfaces' packets, a share of flows each."
            ),
        ] = 1,
        pattern: Annotated[str, typer.Option("--filter", help="What to capture, as of pcap-filter(7).")] = "",
        promiscuous: Annotated[bool, typer.Option(help="Take in what is addressed to others.")] = True,
        user: Annotated[str, typer.Option(help="Become this user once the interfaces are open.")] = "",
        only: Annotated[
            list[str] | None,
            typer.Option(help="Keep calls of this number (0721*) or network (10.1.0.0/16) only."),
        ] = None,
        never: Annotated[
            list[str] | None, typer.Option(help="Keep no call of this number or network.")
        ] = None,
        percent: Annotated[float, typer.Option(help="Keep so many of a hundred calls.")] = 100.0,
        name: Annotated[
            str,
            typer.Option(
                help="What calls are said to come from, before the source; the host's if not given."
            ),
        ] = "",
        jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=256, help="Processes that import.")] = 1,
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
        """Record calls as they are held; each is filed when it is over.

        Ctrl-C files all of them, SIGTERM leaves those that go on to the next start.
        """
        from callreplay.importing import importer
        from callreplay.importing.rules import Rules
        from callreplay.recording import privileges
        from callreplay.recording.recorder import Recorder
        from callreplay.recording.sources import shared
        from callreplay.store import accounts, activity
        from callreplay.store.places import default_data_dir

        if check:
            _check(check, seconds)
            return
        rules = Rules(tuple(only or ()), tuple(never or ()), percent)
        stop, leave = threading.Event(), threading.Event()
        with ExitStack() as owned:
            sources, rings = _sources(
                owned, stream, interface or [], hep, ring, pattern, promiscuous, workers
            )
            if user:
                privileges.become(user)
            privileges.drop_network()
            for share in shared(rings):
                sources.append(share)
                owned.callback(share.close)
            signal.signal(signal.SIGINT, setter(stop))
            signal.signal(signal.SIGTERM, setter(leave))
            opened = owned.enter_context(database(url, data, build=True, volume=True))
            tenant_id, zone = accounts.open_tenant(opened, tenant)
            accounts.zone_of(timezone or zone)
            with opened.connection() as connection:
                volume = wanted(connection, volume_id, volume_name, volume_path)
            names = ", ".join(source.name for source in sources)
            job = importer.Job(
                opened.url,
                tenant_id,
                timezone or zone,
                volume,
                source=f"{name or socket.gethostname()}: {names}",
                rules=rules,
                speech=speech,
            )
            _say(f"recording from {names}")
            spools = spool or (data or default_data_dir()) / "spool"

            def report(outcome: Outcome) -> None:
                activity.note(opened, "record", **outcome.figures())
                _tell(outcome, as_json)

            recorder = Recorder(sources, job, spools, flush, jobs, report=report, warn=_say)
            try:
                recorder.run(stop, leave)
            finally:
                figures = recorder.figures
                _say(
                    f"{figures.packets:,} packets, {figures.drops:,} dropped by the kernel; {figures.added} calls "
                    f"added, {figures.in_progress} go on, {figures.waiting} wait to be filed"
                )


def _check(interface: str, seconds: float) -> None:
    from callreplay.recording.checking import check

    for line in check(interface, seconds):
        typer.echo(printable(line))
