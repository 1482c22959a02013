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
    from callreplay.audio.blocks import Blocks
    from callreplay.audio.decode import decode_many
    from callreplay.audio.speech import Conversation, Talk
    from callreplay.batch.many import transcode_many, transcode_many_async
    from callreplay.capture import Call, Capture, Leg
    from callreplay.capture import open_capture as open
    from callreplay.errors import (
        ArgumentError,
        CallReplayError,
        CaptureError,
        EncryptedError,
        OutputError,
        UnsupportedError,
    )
    from callreplay.outputs.options import Options
    from callreplay.outputs.peaks import Peaks

__all__ = [
    "ArgumentError",
    "Blocks",
    "Call",
    "CallReplayError",
    "Capture",
    "CaptureError",
    "Conversation",
    "EncryptedError",
    "Leg",
    "Options",
    "OutputError",
    "Peaks",
    "Talk",
    "UnsupportedError",
    "__version__",
    "decode_many",
    "get_include",
    "open",
    "transcode_many",
    "transcode_many_async",
]

_MODULES = {
    "audio.blocks": ("Blocks",),
    "audio.decode": ("decode_many",),
    "audio.speech": ("Conversation", "Talk"),
    "batch.many": ("transcode_many", "transcode_many_async"),
    "capture": ("Call", "Capture", "Leg", "open_capture"),
    "errors": (
        "ArgumentError",
        "CallReplayError",
        "CaptureError",
        "EncryptedError",
        "OutputError",
        "UnsupportedError",
    ),
    "outputs.options": ("Options",),
    "outputs.peaks": ("Peaks",),
}
_HOMES = {name: (module, name) for module, names in _MODULES.items() for name in names}
_HOMES["open"] = _HOMES.pop("open_capture")


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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
