"""``callreplay info``: what is in a capture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from callreplay.capture import open_capture
from callreplay.cli.audiofile import is_audio, show_audio
from callreplay.cli.options import CodecOption, KeyLogOption
from callreplay.cli.printable import printable
from callreplay.cli.reading import capture_sources, parse_codecs
from callreplay.cli.tables import Lines
from callreplay.clock import length

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["register"]


def _statistic(key: str, form: str) -> Callable[[dict[str, Any]], str]:
    def cell(leg: dict[str, Any]) -> str:
        value = leg["statistics"][key]
        # A leg without packets has no jitter and no loss; its one figure is that it is empty.
        unknown = value is None or (key != "packets" and not leg["statistics"]["packets"])
        return "" if unknown else form.format(value)

    return cell


def _drift(leg: dict[str, Any]) -> str:
    """Blank where no estimate could be made: a nought would say that the clock is right."""
    figures = leg["statistics"]
    measured = figures["drift_ppm"] or figures["drift_error_ppm"]
    return f"{figures['drift_ppm']:+.1f} ppm" if measured else ""


def _lost(leg: dict[str, Any]) -> str:
    figures = leg["statistics"]
    return f"{figures['lost']:,} ({figures['loss_percent']:.1f} %)" if figures["packets"] else ""


def _level(key: str, form: str) -> Callable[[dict[str, Any]], str]:
    def cell(leg: dict[str, Any]) -> str:
        value = leg.get("levels", {}).get(key)
        return "" if value is None else form.format(value)

    return cell


_ROWS: Final[tuple[tuple[str, Callable[[dict[str, Any]], str]], ...]] = (
    ("codec", lambda leg: ", ".join(leg["codecs"]) or "none"),
    ("packets", _statistic("packets", "{:,}")),
    ("lost", _lost),
    ("late", _statistic("late", "{:,}")),
    ("duplicates", _statistic("duplicates", "{:,}")),
    ("reordered", _statistic("reordered", "{:,}")),
    ("gaps", _statistic("gaps", "{:,}")),
    ("jitter", _statistic("jitter_ms", "{:.1f} ms")),
    ("drift", _drift),
    ("MOS (G.107)", _statistic("mos", "{:.2f}")),
    ("level", _level("rms_dbfs", "{:.1f} dBFS")),
    ("clipped", _level("clipped", "{:.2%}")),
    ("silence", _level("silence", "{:.0%}")),
    ("digits", lambda leg: "".join(event["digit"] for event in leg["events"])),
    ("from", lambda leg: "\n".join(flow.split(" > ")[0] for flow in leg["flows"])),
)


def _shown(text: str) -> str:
    """A text of a capture, which no terminal obeys and Rich takes for no markup."""
    from rich.markup import escape

    return escape(printable(text, lines=True))


def _show_call(console: Console, call: dict[str, Any]) -> None:
    said = (
        call["caller"]["number"] or call["caller"]["name"],
        call["called"]["number"] or call["called"]["name"],
    )
    who = f"{said[0] or 'caller'} → {said[1] or 'called'}"
    who = _shown(who)
    console.print(
        f"\n[bold]Call {call['number']}[/]  {who}  {_shown(call['start'])}  {length(call['duration_s'], hours=True)}"
    )
    if call["call_id"]:
        console.print(
            f"  {_shown(call['protocol'].upper())} {_shown(call['call_id'])}  {_shown(call['status'])}"
        )
    if call["encrypted"]:
        console.print(f"  [red]encrypted:[/] {_shown(call['encrypted'])}")
    table = Lines("", "caller", "called")
    for name, cell in _ROWS:
        cells = [cell(leg) for leg in call["legs"]]
        if any(cells):
            table.add_row(f"  {name}", *cells)
    table.print()
    for warning in call["warnings"]:
        console.print(f"  [yellow]{_shown(warning)}[/]")


def _show_why(console: Console, call: dict[str, Any]) -> None:
    """What was weighed, with the reasons for each answer, and what was set aside."""
    for verdict in call["why"]:
        reasons = _shown("; ".join(verdict["reasons"]))
        console.print(f"  [bold]{_shown(verdict['question'])}[/] {_shown(verdict['about'])}")
        console.print(f"    [green]{_shown(verdict['answer'])}[/]: {reasons or 'nothing else'}")
        for rival in verdict["rivals"]:
            reasons = _shown("; ".join(rival["reasons"]))
            console.print(f"    [dim]not {_shown(rival['answer'])}: {reasons or 'no reason'}[/]")
    for row in call["set_aside"]:
        what = f"{row['packets']:,} packets, {row['seconds']:.1f} s, {row['ssrc']} {row['flow']}"
        console.print(f"  [bold]set aside[/] ({_shown(row['kind'])}) {_shown(what)}: {_shown(row['reason'])}")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(name="info")
    def info(
        captures: Annotated[
            list[Path],
            typer.Argument(
                metavar="CAPTURE...",
                help="A capture, or the files of one call in any order; - is standard input.",
            ),
        ],
        as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
        why: Annotated[
            bool,
            typer.Option("--why", help="Say how packets became calls: what was weighed, and the reasons."),
        ] = False,
        audio: Annotated[bool, typer.Option(help="Decode the audio to measure clipping and silence.")] = True,
        codec: CodecOption = [],  # noqa: B006
        keylog: KeyLogOption = None,
    ) -> None:
        """Show the calls, legs, codecs, loss, jitter and quality in a capture, or what an audio file says of itself."""
        if is_audio(captures):
            show_audio(captures, as_json)
            return
        with open_capture(*capture_sources(captures), codecs=parse_codecs(codec), keylog=keylog) as capture:
            report = capture.report(audio=audio)
            if as_json:
                typer.echo(json.dumps(report, indent=1))
                return
            from rich.console import Console

            console = Console(highlight=False, soft_wrap=True)
            count = len(report["calls"])
            calls = f"{count} call" if count == 1 else f"{count} calls"
            containers = _shown(", ".join(report["containers"]))
            console.print(f"{_shown(report['name'])}: {containers}, {calls}")
            for call in report["calls"]:
                _show_call(console, call)
                if why:
                    _show_why(console, call)
            for warning in report["warnings"]:
                console.print(f"[yellow]{_shown(warning)}[/]")
            if not report["calls"]:
                console.print(f"no call was found ({_shown(capture.why_empty())})")
