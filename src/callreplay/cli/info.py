"""``callreplay info``: what is in a capture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callreplay.cli.options import parse_codecs
from callreplay.errors import ArgumentError
from callreplay.pipeline import open_capture

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["register"]


def _json_safe(value: Any) -> Any:
    """Infinities have no JSON; null stands for "none was measured"."""
    if isinstance(value, dict):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_safe(item) for item in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return value


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _show_call(console: Console, call: dict[str, Any]) -> None:
    from rich.table import Table

    said = (
        call["caller"]["number"] or call["caller"]["name"],
        call["called"]["number"] or call["called"]["name"],
    )
    who = f"{said[0] or 'caller'} → {said[1] or 'called'}"
    console.print(f"\n[bold]Call {call['number']}[/]  {who}  {call['start']}  {_clock(call['duration_s'])}")
    if call["call_id"]:
        console.print(f"  {call['protocol'].upper()} {call['call_id']}  {call['status']}")
    if call["encrypted"]:
        console.print(f"  [red]encrypted:[/] {call['encrypted']}")
    table = Table("leg", "codec", "packets", "lost", "late", "dup", "reord", "gaps", "jitter ms", "drift ppm", "MOS",
                  "clipped", "silence", "digits", box=None, pad_edge=False)  # fmt: skip
    for leg in call["legs"]:
        numbers, levels = leg["statistics"], leg.get("levels")
        mos = numbers["mos"]
        table.add_row(
            leg["side"],
            ", ".join(leg["codecs"]) or "none",
            str(numbers["packets"]),
            f"{numbers['lost']} ({numbers['loss_percent']:.1f} %)",
            str(numbers["late"]),
            str(numbers["duplicates"]),
            str(numbers["reordered"]),
            str(numbers["gaps"]),
            f"{numbers['jitter_ms']:.1f}",
            f"{numbers['drift_ppm']:+.0f}",
            f"{mos:.2f}" if mos is not None else "",
            f"{levels['clipped']:.2%}" if levels else "",
            f"{levels['silence']:.0%}" if levels else "",
            "".join(event["digit"] for event in leg["events"]),
        )
    console.print(table)
    for leg in call["legs"]:
        for flow in leg["flows"]:
            console.print(f"  [dim]{leg['side']}: {flow}[/]")
    for warning in call["warnings"]:
        console.print(f"  [yellow]{warning}[/]")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="info")
    def info(
        captures: Annotated[
            list[Path], typer.Argument(metavar="CAPTURE [CAPTURE]", help="One capture, or one per leg.")
        ],
        as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
        audio: Annotated[bool, typer.Option(help="Decode the audio to measure clipping and silence.")] = True,
        codec: Annotated[list[str], typer.Option("--codec", help="PT=NAME/RATE for a payload type.")] = [],  # noqa: B006
    ) -> None:
        """Show the calls, legs, codecs, loss, jitter and quality in a capture."""
        if len(captures) > 2:
            raise ArgumentError("one capture, or two with one leg each")
        with open_capture(*captures, codecs=parse_codecs(codec)) as capture:
            report = capture.report(audio=audio)
            if as_json:
                typer.echo(json.dumps(_json_safe(report), indent=1))
                return
            from rich.console import Console

            console = Console(highlight=False, soft_wrap=True)
            console.print(
                f"{report['name']}: {', '.join(report['containers'])}, {len(report['calls'])} calls"
            )
            for call in report["calls"]:
                _show_call(console, call)
            for warning in report["warnings"]:
                console.print(f"[yellow]{warning}[/]")
            if not report["calls"]:
                console.print(f"no call was found ({capture.why_empty()})")
