"""callreplay turns recorded VoIP calls into audio and pictures, exactly and fast.

>>> import callreplay
>>> with callreplay.open("samples/reservation.pcap") as capture:
...     print(capture.calls[0].party("caller"))
Ana Pop <0721555010>
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callreplay._version import __version__

if TYPE_CHECKING:
    from callreplay.audio.decode import decode_many
    from callreplay.batch.many import transcode_many, transcode_many_async
    from callreplay.capture import Call, Capture, Leg
    from callreplay.capture import open_capture as open
    from callreplay.outputs.peaks import Peaks

__all__ = [
    "Call",
    "Capture",
    "Leg",
    "Peaks",
    "__version__",
    "decode_many",
    "get_include",
    "open",
    "transcode_many",
    "transcode_many_async",
]

_HOMES = {
    "Call": ("capture", "Call"),
    "Capture": ("capture", "Capture"),
    "Leg": ("capture", "Leg"),
    "Peaks": ("outputs.peaks", "Peaks"),
    "decode_many": ("audio.decode", "decode_many"),
    "open": ("capture", "open_capture"),
    "transcode_many": ("batch.many", "transcode_many"),
    "transcode_many_async": ("batch.many", "transcode_many_async"),
}


def get_include() -> str:
    """The folder with the C headers, for extension modules that embed the engine (see ``callreplay/capi.pxd``)."""
    from pathlib import Path

    return str(Path(__file__).parent / "include")


def __getattr__(name: str) -> Any:
    """Import what is used when it is used: ``import callreplay`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'callreplay' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(f"callreplay.{module}"), attribute)
