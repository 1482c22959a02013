"""A stranger's Cython module, compiled against the installed package, uses the engine without the GIL."""

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import callreplay
from callreplay.decode import native_leg
from tests.captures import pcap, rtp, udp

STRANGER = """
# cython: language_level=3
from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t
from callreplay.capi cimport (
    CR_CODEC_ULAW, CR_OK, cr_capi, cr_chunk, cr_conveyor, cr_leg, cr_peaks, cr_span, cr_status, import_callreplay,
)

cdef const cr_capi* engine = import_callreplay()


def isa():
    return engine.isa_name(engine.isa_active()).decode()


def decode(const uint8_t[::1] data, const int64_t[::1] offset, const uint16_t[::1] size, const int64_t[::1] timestamp,
           const uint8_t[::1] flags, int64_t ticks, int16_t[::1] out):
    cdef cr_span span
    cdef cr_leg leg
    cdef cr_conveyor* conveyor = NULL
    cdef const cr_chunk* chunks = NULL
    cdef size_t count = 1, i, total = 0
    cdef int64_t k
    cdef cr_status status
    span.codec, span.clock_rate_hz, span.sample_rate_hz, span.mode = CR_CODEC_ULAW, 8000, 8000, 0
    span.first, span.stop, span.end_tick, span.anchor_ns, span.drift_ppb = 0, offset.shape[0], ticks, 0, 0
    span.pcm, span.pcm_count, span.seed = NULL, 0, 1
    leg.data, leg.data_size, leg.spill, leg.spill_size = &data[0], data.shape[0], NULL, 0
    leg.rows, leg.offset, leg.size, leg.timestamp = offset.shape[0], &offset[0], &size[0], &timestamp[0]
    leg.sequence, leg.flags, leg.span_count, leg.spans = NULL, &flags[0], 1, &span
    leg.gap_count, leg.gap_span, leg.gap_start, leg.gap_ticks, leg.gap_reason = 0, NULL, NULL, NULL, NULL
    with nogil:
        status = engine.conveyor_create(1, 200, &conveyor)
        if status == CR_OK:
            status = engine.conveyor_add(conveyor, &leg)
        while status == CR_OK and count > 0:
            status = engine.conveyor_step(conveyor, &chunks, &count)
            for i in range(count if status == CR_OK else 0):
                for k in range(chunks[i].count):
                    if chunks[i].first_sample + k < out.shape[0]:
                        out[chunks[i].first_sample + k] = chunks[i].pcm[k]
                total += chunks[i].count
        engine.conveyor_destroy(conveyor)
    if status != CR_OK:
        raise ValueError(engine.status_message(status).decode())
    return total


def peaks(const int16_t[::1] pcm):
    cdef cr_peaks* made = NULL
    if engine.peaks_create(1, 100, &made) != CR_OK:
        raise MemoryError
    with nogil:
        engine.peaks_write(made, &pcm[0], pcm.shape[0])
    found = [(engine.peaks_data(made)[i].low, engine.peaks_data(made)[i].high) for i in range(engine.peaks_count(made))]
    engine.peaks_destroy(made)
    return found
"""


def _build(folder: Path) -> object:
    source = folder / "stranger.pyx"
    source.write_text(STRANGER)
    subprocess.run([sys.executable, "-m", "cython", "-3", source], check=True, cwd=folder)
    out = folder / f"stranger{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-w", "-I", callreplay.get_include(), "-I", sysconfig.get_path("include"),
         folder / "stranger.c", "-o", out],
        check=True,
    )  # fmt: skip
    spec = importlib.util.spec_from_file_location("stranger", out)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_strangers_module_decodes_and_takes_peaks(tmp_path: Path) -> None:
    stranger = _build(tmp_path)
    payload = np.random.default_rng(1).integers(0, 256, 50 * 160, dtype=np.uint8)
    records = [
        (1_700_000_000_000_000_000 + i * 20_000_000,
         udp("10.0.0.1", 4000, "10.0.0.2", 5000, rtp(i, i * 160, 1, 0, payload[i * 160 : (i + 1) * 160].tobytes())))
        for i in range(50)
    ]  # fmt: skip
    call = callreplay.open(pcap(records)).calls[0]
    columns = call.caller.columns
    native_leg(columns)
    out = np.zeros(50 * 160, np.int16)
    arguments = (columns.data, columns.offset, columns.size, columns.timestamp, columns.flags, 8000, out)
    assert stranger.decode(*arguments) == 8000  # type: ignore[attr-defined]
    assert np.array_equal(out, call.caller.pcm())
    from callreplay import _core

    assert stranger.isa() == _core.isa_active()  # type: ignore[attr-defined]
    ours = callreplay.Peaks(1, 100)
    ours.write(out)
    both = zip(ours.low[:, 0].tolist(), ours.high[:, 0].tolist(), strict=True)
    assert stranger.peaks(out) == list(both)  # type: ignore[attr-defined]


def test_bounds_are_checked_for_strangers_too(tmp_path: Path) -> None:
    stranger = _build(tmp_path)
    one = np.ones(1, np.int64)
    size, flags, out = np.array([160], np.uint16), np.zeros(1, np.uint8), np.zeros(160, np.int16)
    with pytest.raises(ValueError, match="outside"):
        stranger.decode(np.zeros(10, np.uint8), one, size, one * 0, flags, 160, out)  # type: ignore[attr-defined]
