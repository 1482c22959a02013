import numpy as np
from numpy import float32, generic, int16, int32, int64, uint8, uint16
from numpy.typing import NDArray

STATUS_TABLE: list[tuple[int, str, str, str]]

def isa_active() -> str: ...
def isa_forced() -> bool: ...
def isa_available() -> list[str]: ...

# codec, clock rate, sample rate, mode, first, stop, end tick, anchor ns, drift ppb, seed, external PCM
SpanRow = tuple[int, int, int, int, int, int, int, int, int, int, NDArray[generic] | None]
# leg, tone or -1, start ns, duration ns, level dBm0
EventRow = tuple[int, int, int, int, int]
# rate, channels, origin ns, frames, block ms, ignore drift
TimelineRow = tuple[int, int, int, int, int, bool]
# decoded, concealed, noise samples; trimmed, malformed packets
CountsRow = tuple[int, int, int, int, int]

class Leg:
    def __init__(
        self,
        data: NDArray[uint8],
        spill: NDArray[uint8],
        offset: NDArray[int64],
        size: NDArray[uint16],
        timestamp: NDArray[int64],
        sequence: NDArray[int64],
        flags: NDArray[uint8],
        spans: list[SpanRow],
        gap_span: NDArray[int32],
        gap_start: NDArray[int64],
        gap_ticks: NDArray[int64],
        gap_reason: NDArray[uint8],
        /,
    ) -> None: ...

class Conveyor:
    def __init__(self, width: int, block_ms: int, /) -> None: ...
    def add(self, leg: Leg, /) -> None: ...
    def step(self) -> tuple[NDArray[int16], NDArray[int64]]: ...
    def counts(self, leg: int, /) -> CountsRow: ...
    def occupancy(self) -> dict[str, int]: ...

class Renderer:
    def __init__(
        self, timeline: TimelineRow, legs: list[tuple[Leg | None, int]], events: list[EventRow], /
    ) -> None: ...
    def read(self, out: NDArray[int16], /) -> int: ...
    def read_f32(self, out: NDArray[float32], /) -> int: ...
    def seek(self, frame: int, /) -> None: ...
    def position(self) -> int: ...
    def counts(self, leg: int, /) -> CountsRow: ...

class RendererGroup:
    def __init__(self, gather_ms: int, /) -> None: ...
    def add(
        self, timeline: TimelineRow, legs: list[tuple[Leg | None, int]], events: list[EventRow], /
    ) -> int: ...
    def read(self, out: NDArray[int16], /) -> tuple[int, int, bool]: ...
    def counts(self, call: int, leg: int, /) -> CountsRow: ...
    def occupancy(self) -> dict[str, int]: ...
    def waiting(self) -> int: ...

def wav_header(encoding: int, rate_hz: int, channels: int, frames: int | None, /) -> bytes: ...
def wav_encode(encoding: int, pcm: NDArray[int16], out: NDArray[uint8], /) -> None: ...

# rate Hz, quality, VBR, VAD, DTX, segments, serial number, comments "NAME=value"
class SpeexStream:
    def __init__(
        self,
        rate_hz: int,
        quality: int,
        vbr: bool,
        vad: bool,
        dtx: bool,
        segments: bool,
        serial: int,
        comments: list[str],
        /,
    ) -> None: ...
    def push(self, pcm: NDArray[int16], /) -> None: ...
    def end(self) -> None: ...
    def take(self) -> bytes: ...

class SpeexBatch:
    def __init__(self) -> None: ...
    def encode(self, streams: list[SpeexStream], /) -> None: ...

# raster
class Peaks:
    def __init__(
        self, channels: int, frames_per_bucket: int = 0, total_frames: int = 0, buckets: int = 0
    ) -> None: ...
    def write(self, pcm: NDArray[np.int16]) -> None: ...
    def data(self) -> NDArray[np.void]: ...

def peaks8(pcm: NDArray[np.int16], frames_per_pixel: int) -> NDArray[np.int8]: ...
def draw_band(
    image: NDArray[np.uint8],
    peaks: NDArray[np.void],
    *,
    channel: int,
    left: int,
    top: int,
    width: int,
    height: int,
    columns_per_pixel: int,
    levels: int,
    peak_base: int,
    rms_base: int,
    scale: float,
) -> None: ...
def draw_marks(
    image: NDArray[np.uint8],
    start: NDArray[np.float64],
    stop: NDArray[np.float64],
    loss: NDArray[np.bool_],
    *,
    top: int,
    height: int,
    loss_colour: int,
    tint: int,
    silence: int,
) -> None: ...
def png_pack(image: NDArray[np.uint8]) -> bytes: ...

# speech
class Speech:
    def __init__(self, rate_hz: int, /) -> None: ...
    def write(self, pcm: NDArray[np.int16], /) -> None: ...
    def write_channel(self, frames: NDArray[np.int16], /, channel: int) -> None: ...  # (n, channels)
    def write_pair(self, other: Speech, pcm: NDArray[np.int16], /) -> None: ...
    def settled(self) -> int: ...  # talk that is taken later does not begin before this sample
    def finish(self) -> None: ...
    def take(self) -> list[tuple[int, int, float]]: ...  # first sample, sample after the last, sum of squares

# The capsule that capi.pxd reads.
_C_API: object
