import numpy as np
from numpy.typing import NDArray

def window_minima(
    timestamp: NDArray[np.int64],
    arrival: NDArray[np.int64],
    flags: NDArray[np.uint8],
    origin_ns: int,
    ns_per_tick: float,
    window_ticks: int,
    shift: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]: ...
def short_floor(
    stamps: NDArray[np.int64],
    arrivals: NDArray[np.int64],
    marks: NDArray[np.uint8],
    clock_rate_hz: int,
    window_ticks: int,
    shortest_s: float,
    apart_ns: float,
    shift: int,
) -> float | None: ...
def packet_ends(
    timestamp: NDArray[np.int64],
    size: NDArray[np.uint16],
    payload_type: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    missing: NDArray[np.int32],
    codecs: NDArray[np.uint8],
    durations: NDArray[np.int32],
    typical: NDArray[np.int32],
    longest: int,
    ends: NDArray[np.int64],
) -> None: ...
def settle(
    timestamp: NDArray[np.int64],
    size: NDArray[np.uint16],
    payload_type: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    missing: NDArray[np.int32],
    shifts: NDArray[np.int64],
    codecs: NDArray[np.uint8],
    durations: NDArray[np.int32],
    typical: NDArray[np.int32],
    snap_ticks: int,
) -> int: ...
def gap_table(
    timestamp: NDArray[np.int64],
    size: NDArray[np.uint16],
    payload_type: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    missing: NDArray[np.int32],
    codecs: NDArray[np.uint8],
    durations: NDArray[np.int32],
    typical: NDArray[np.int32],
    span: int,
    hold_ticks: int,
    longest: int,
) -> NDArray[np.void]: ...
def codec_runs(
    payload_type: NDArray[np.uint8], flags: NDArray[np.uint8], codecs: NDArray[np.uint8]
) -> list[tuple[int, int, int]]: ...
def count_late(
    timestamp: NDArray[np.int64],
    arrival: NDArray[np.int64],
    origin_ns: int,
    floor_ns: float,
    ns_per_tick: float,
    late_ns: float,
    shift: int = 0,
) -> int: ...
