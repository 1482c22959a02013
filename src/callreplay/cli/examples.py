"""An example or two of every command: they end its ``--help`` and its man page, and tests run them."""

from __future__ import annotations

from typing import Final

__all__ = ["EXAMPLES", "epilog"]

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "": ("callreplay transcode call.pcap -o call.wav", "callreplay info call.pcap"),
    "transcode": (
        "callreplay transcode call.pcap -o call.wav --channels stereo",
        "callreplay transcode call.pcap -o call.mp3 --start 0:02 --end 0:10",
        "callreplay transcode call.pcap -o call.png --theme dark --width 1200",
        "callreplay transcode caller.rtpdump called.rtpdump -o call.opus",
    ),
    "info": ("callreplay info call.pcap", "callreplay info call.pcap --json", "callreplay info call.wav"),
    "peaks": ("callreplay peaks call.pcap -o call.json --samples-per-pixel 512",),
    "speech": ("callreplay speech call.pcap", "callreplay speech call.pcap -o call.rttm"),
    "batch": (
        "callreplay batch captures -o audio --format flac --channels stereo",
        "callreplay batch jobs.jsonl -o s3://bucket/audio --format spx --workers 8",
    ),
    "serve": ("callreplay serve --data-dir /srv/callreplay",),
    "import": ("callreplay import captures --data-dir /srv/callreplay --jobs 4",),
    "watch": ("callreplay watch /var/spool/pcap --after move --linger 60",),
    "record": (
        "callreplay record -i eth1 --user callreplay --data-dir /srv/callreplay",
        "callreplay record --hep 9060 --data-dir /srv/callreplay",
    ),
    "volumes": ("callreplay volumes list",),
    "volumes list": ("callreplay volumes list --json",),
    "volumes add": ("callreplay volumes add /mnt/calls --quota 500G",),
    "volumes change": ("callreplay volumes change --volume-id 2 --quota 500G --reserved 50G",),
    "volumes join": ("callreplay volumes join --volume-id 2 --into-id 1",),
    "volumes move": ("callreplay volumes move /mnt/elsewhere --volume-id 2",),
    "volumes retire": ("callreplay volumes retire --volume-id 2",),
    "retain": ("callreplay retain --dry-run", "callreplay retain --set period --days 90"),
    "backup": (
        "callreplay backup /mnt/backup/calls.tar --recordings",
        "callreplay backup database.tar --data-dir /srv/callreplay",
    ),
    "restore": (
        "callreplay restore /mnt/backup/calls.tar --data-dir /srv/callreplay",
        "callreplay restore database.tar --data-dir /srv/callreplay --volume 2=/mnt/audio2",
    ),
    "calls": ("callreplay calls find --caller-number 0721555010",),
    "calls find": (
        "callreplay calls find --caller-number 0721555010 --begin-time 2026.01.06-00.00.00",
        "callreplay calls find --newest --limit 1000 --csv --columns callId,beginTime,duration",
    ),
    "calls transcode": ("callreplay calls transcode --wire-call-id reservation@192.0.2.10 -o call.wav",),
    "calls tag": ("callreplay calls tag 0b9d1c8e-3f52-4c57-9f1e-52e0a3a4d7aa --add complaint",),
    "calls hold": ("callreplay calls hold 0b9d1c8e-3f52-4c57-9f1e-52e0a3a4d7aa --reason 'case 7'",),
    "calls release": ("callreplay calls release 0b9d1c8e-3f52-4c57-9f1e-52e0a3a4d7aa",),
    "calls erase": ("callreplay calls erase 0721555010 --reason 'request 12' --dry-run",),
    "transcribe": (
        "callreplay transcribe call.pcap --with recogniser:hear -o call.vtt",
        "callreplay transcribe --query callerNumber=0721 --with recogniser:hear",
    ),
    "tenants": ("callreplay tenants list",),
    "tenants list": ("callreplay tenants list --json",),
    "tenants add": ("callreplay tenants add acme --timezone Europe/Riga",),
    "tenants change": ("callreplay tenants change acme --lock",),
    "users": ("callreplay users list",),
    "users list": ("callreplay users list --json",),
    "users add": ("callreplay users add ana --role user --name 'Ana Pop' --scope callerNumber=0721",),
    "users password": ("callreplay users password ana",),
    "users role": ("callreplay users role ana auditor",),
    "users roles": ("callreplay users roles --define listener --rights play",),
    "users token": ("callreplay users token ana --name dashboard --rights play --days 30",),
    "users disable": ("callreplay users disable ana",),
    "users enable": ("callreplay users enable ana",),
    "users delete": ("callreplay users delete ana",),
    "audit": ("callreplay audit verify",),
    "audit verify": ("callreplay audit verify --data-dir /srv/callreplay",),
    "audit export": ("callreplay audit export --json --begin 2026-01-01",),
    "jobs": ("callreplay jobs list",),
    "jobs list": ("callreplay jobs list --json",),
    "jobs cancel": ("callreplay jobs cancel 12",),
    "man": ("callreplay man ~/.local/share/man/man1",),
}
"""By the command's words. Names of files are the tests' as well."""


def epilog(command: str) -> str:
    """What ends the help of a command; '' where there is no example."""
    lines = EXAMPLES.get(command, ())
    return "\n\n".join(["Examples:" if len(lines) > 1 else "Example:", *lines]) if lines else ""
