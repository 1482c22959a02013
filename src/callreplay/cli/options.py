"""The options that shape an output, as Typer parameters: the names of ``formats.Options``, declared once.

Commands take them as one keyword bundle: ``@with_output_options`` appends the parameters to a command's own.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from callreplay.errors import ArgumentError
from callreplay.outputs.options import CHANNELS, Options

if TYPE_CHECKING:
    from callreplay.packets import Opener

__all__ = ["KeyLogOption", "capture_sources", "parse_codecs", "parse_time", "with_output_options"]

_SOUND: Final = "Sound"
_PICTURE: Final = "Picture"
_PEAKS: Final = "Peaks"


KeyLogOption = Annotated[
    Path | None,
    typer.Option("--keylog", help="Secrets of TLS connections (SSLKEYLOGFILE), to read the SIP in them."),
]


def capture_sources(captures: Sequence[Path | Opener]) -> list[Path | Opener | BinaryIO]:
    """The captures to open; ``-`` is standard input, to its end."""
    if sum(str(path) == "-" for path in captures) > 1:
        raise ArgumentError("standard input can be read once")
    if Path("-") in captures and sys.stdin.isatty():
        raise ArgumentError("- reads a capture from standard input, which is a terminal here")
    return [sys.stdin.buffer if str(path) == "-" else path for path in captures]


def parse_time(text: str) -> float:
    """Seconds from ``90``, ``1:30``, ``0:01:30`` or ``1:30.5``."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time: use seconds or h:mm:ss") from None
    if len(parts) > 3 or any(not 0 <= part < 1e9 for part in parts):
        raise typer.BadParameter(f"{text!r} is no time: use seconds or h:mm:ss")
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds


def parse_codecs(hints: list[str]) -> dict[int, str]:
    """``["97=opus/48000"]`` to ``{97: "opus/48000"}``; ArgumentError names what is wrong."""
    codecs: dict[int, str] = {}
    for hint in hints:
        payload_type, equals, encoding = hint.partition("=")
        if not equals or not payload_type.isdigit() or int(payload_type) > 127 or not encoding:
            raise ArgumentError(
                f"codec must look like PT=NAME/RATE (97=opus/48000, '97=AMR/8000;octet-align=1'), not {hint!r}"
            )
        codecs[int(payload_type)] = encoding
    return codecs


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


_PARAMETERS: Final[dict[str, tuple[Any, Any]]] = {
    "channels": (
        Annotated[
            str,
            _option(
                _SOUND,
                f"{', '.join(CHANNELS)}; pictures and peaks default to stereo, sound to mono.",
                autocompletion=lambda: list(CHANNELS),
            ),
        ],
        "",
    ),
    "rate": (
        Annotated[
            int, _option(_SOUND, "Output sample rate in Hz; the legs' own (8000 or 16000) if not given.")
        ],
        0,
    ),
    "start": (Annotated[float, _option(_SOUND, "From here: seconds or h:mm:ss.", parser=parse_time)], "0"),
    "end": (
        Annotated[float | None, _option(_SOUND, "To here: seconds or h:mm:ss.", parser=parse_time)],
        None,
    ),
    "dtmf": (
        Annotated[
            str, _option(_SOUND, "RFC 4733 digits: tone or mute.", autocompletion=lambda: ["tone", "mute"])
        ],
        "mute",
    ),
    "concealment": (
        Annotated[
            str,
            _option(
                _SOUND,
                "Lost G.729: exact (as the standard says) or best (bridged as the others).",
                autocompletion=lambda: ["exact", "best"],
            ),
        ],
        "exact",
    ),
    "limiter": (
        Annotated[bool, _option(_SOUND, "Keep true peaks below -1 dBTP instead of clipping.", "--limiter")],
        False,
    ),
    "loudness": (
        Annotated[float | None, _option(_SOUND, "Bring the mix to this loudness, LUFS (BS.1770): -23.")],
        None,
    ),
    "loudness_by": (
        Annotated[
            str, _option(_SOUND, "mix, or leg: each leg by itself.", autocompletion=lambda: ["mix", "leg"])
        ],
        "mix",
    ),
    "sample_format": (
        Annotated[
            str,
            _option(_SOUND, "wav: int16, ulaw or alaw.", autocompletion=lambda: ["int16", "ulaw", "alaw"]),
        ],
        "int16",
    ),
    "quality": (Annotated[int, _option(_SOUND, "spx: 0 to 10.")], 8),
    "vbr": (Annotated[bool, _option(_SOUND, "spx: variable bit rate.", "--vbr")], False),
    "vad": (Annotated[bool, _option(_SOUND, "spx: only describe background noise.", "--vad")], False),
    "dtx": (Annotated[bool, _option(_SOUND, "spx: send next to nothing in silence.", "--dtx")], False),
    "segments": (
        Annotated[bool, _option(_SOUND, "spx: code a call of a minute or more by several lanes at once.")],
        True,
    ),
    "bitrate": (Annotated[int, _option(_SOUND, "mp3, opus, m4a: bits per second.")], 0),
    "metadata": (
        Annotated[bool, _option(_SOUND, "Write title, time and parties into the file, or leave it bare.")],
        True,
    ),
    "title": (Annotated[str, _option(_SOUND, "A title, written into formats that hold one.")], ""),
    "width": (Annotated[int, _option(_PICTURE, "Pixels.")], 1000),
    "height": (Annotated[int, _option(_PICTURE, "Pixels.")], 200),
    "theme": (
        Annotated[
            str,
            _option(
                _PICTURE,
                "light, dark or transparent.",
                autocompletion=lambda: ["light", "dark", "transparent"],
            ),
        ],
        "light",
    ),
    "background": (Annotated[str, _option(_PICTURE, "#rrggbb.")], ""),
    "caller_color": (Annotated[str, _option(_PICTURE, "#rrggbb.")], ""),
    "called_color": (Annotated[str, _option(_PICTURE, "#rrggbb.")], ""),
    "axis": (Annotated[bool | None, _option(_PICTURE, "Times below; by default where there is room.")], None),
    "labels": (
        Annotated[list[str], _option(_PICTURE, "A speaker's name; caller first.", "--labels", "--label")],
        [],
    ),
    "spectrogram": (
        Annotated[bool, _option(_PICTURE, "Frequencies instead of the waveform.", "--spectrogram")],
        False,
    ),
    "samples_per_pixel": (Annotated[int, _option(_PEAKS, "Zoom level.")], 256),
    "bits": (Annotated[int, _option(_PEAKS, "8 or 16.")], 16),
    "peaks_version": (Annotated[int, _option(_PEAKS, "1 or 2 of audiowaveform's format.")], 2),
}


def with_output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command(..., options: Options)`` one CLI option per field of ``Options``."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]

    def wrapper(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in _PARAMETERS}
        chosen["labels"] = tuple(chosen["labels"])
        command(**values, options=Options(**chosen))

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _PARAMETERS.items()
    ]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    wrapper.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
    return wrapper
