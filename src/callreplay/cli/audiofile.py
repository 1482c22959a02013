"""What ``callreplay info`` shows of an audio file: what it says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer

from callreplay.clock import length
from callreplay.outputs.tag_reading import FileTags, audio_format, read_tags

__all__ = ["is_audio", "show_audio"]


def is_audio(paths: list[Path]) -> bool:
    """Whether these are audio files, not captures; by their first octets."""
    return all(audio_format(path) for path in paths)


def show_audio(paths: list[Path], as_json: bool) -> None:
    """What each file says of itself, for people or as JSON."""
    found = [(path, read_tags(path)) for path in paths]
    if as_json:
        rows = [{"name": str(path), **asdict(tags), "duration_s": tags.duration_s} for path, tags in found]
        typer.echo(json.dumps(rows[0] if len(rows) == 1 else rows, ensure_ascii=False, indent=1))
        return
    for path, tags in found:
        typer.echo(f"{path}: {_shape(tags)}")
        for name, value in tags.comments.items():
            typer.echo(f"  {name.lower():10} {value}")
        if tags.time_reference is not None:
            typer.echo(f"  {'bext':10} {tags.origination}, {tags.time_reference:,} samples after midnight")
        if not tags.comments:
            typer.echo("  it says nothing of itself")


def _shape(tags: FileTags) -> str:
    parts = [tags.format]
    if tags.rate_hz:
        parts += [
            f"{tags.rate_hz} Hz",
            {1: "mono", 2: "stereo"}.get(tags.channels, f"{tags.channels} channels"),
        ]
    if tags.duration_s is not None:
        parts.append(length(tags.duration_s, hours=True))
    return ", ".join(parts)
