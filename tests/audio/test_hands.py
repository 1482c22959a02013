"""Native handles in several hands: threads that share one, children that are forked while one is at work."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
from tests.audio.test_mix import NS, _tone, linear

from callreplay import _core
from callreplay.audio.decode import Conveyor
from callreplay.audio.legs import native_leg
from callreplay.audio.mix import Renderer
from callreplay.errors import ArgumentError, StateError
from callreplay.outputs.peaks import Peaks
from callreplay.outputs.speex import OggSpeexWriter


def _hammer(*works: Callable[[], object]) -> None:
    """Every work by two threads at once, for a while: each time it is served, or refused with StateError."""
    served, errors = count(), list[BaseException]()

    def run(work: Callable[[], object]) -> None:
        for _ in range(60):
            try:
                work()
                next(served)
            except StateError:
                pass
            except BaseException as error:  # the thread's end would be silent
                errors.append(error)
                return

    threads = [threading.Thread(target=run, args=(work,)) for work in (*works, *works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert next(served) > 0


def test_a_renderer() -> None:
    leg = linear(_tone(700, 8000, 5.0), 8000, drift_ppm=40.0)
    renderer = Renderer([leg, leg], 16000, "stereo")
    _hammer(
        lambda: renderer.read_into(np.empty((4000, 2), np.int16)),
        lambda: renderer.seek(3000),
        lambda: renderer.counts(0),
        lambda: renderer.position,
    )


def test_a_group_of_renderers() -> None:
    leg = linear(_tone(700, 8000, 2.0), 8000)
    group = _core.RendererGroup(200)
    plan: Any = ((16000, 1, 10 * NS, 32000, 120, False), [(native_leg(leg, None), 0)], [])
    _hammer(lambda: group.add(*plan), lambda: group.read(np.empty(16000, np.int16)), group.occupancy)


def test_a_conveyor() -> None:
    leg = linear(_tone(700, 8000, 5.0), 8000)
    conveyor = Conveyor(width=4)
    _hammer(lambda: conveyor.add(leg), lambda: next(iter(conveyor), None), lambda: conveyor.occupancy)


def test_peaks() -> None:
    peaks = Peaks(1, 10)
    pcm = _tone(700, 8000, 0.5)
    _hammer(lambda: peaks.write(pcm), peaks._core.data)


def test_detectors_of_speech() -> None:
    one, two = _core.Speech(8000), _core.Speech(8000)
    pcm = _tone(700, 8000, 0.5)
    both = np.ascontiguousarray(np.stack([pcm, pcm], axis=1))
    _hammer(
        lambda: one.write(pcm), lambda: one.write_pair(two, both), lambda: two.write_pair(one, both), one.take
    )
    with pytest.raises(ArgumentError, match="a detector of its own"):
        one.write_pair(one, both)


def test_a_speex_encoder() -> None:
    encoder = OggSpeexWriter(8000)
    pcm = _tone(700, 8000, 0.2)
    _hammer(lambda: encoder.write(pcm))


@pytest.mark.parametrize("size", [0, 1, 3])
def test_buffers_that_hold_no_whole_frame(size: int) -> None:
    leg = linear(_tone(700, 8000), 8000)
    native = Renderer([leg, leg], channels="stereo")._native
    out = np.full(8, 77, np.int16)
    assert native.read(out[:size]) == size // 2
    assert (out[size // 2 * 2 :] == 77).all()
    with pytest.raises(ArgumentError):
        _core.RendererGroup(100).read(out[:1])


def test_children_forked_while_filters_are_made() -> None:
    """A bank of filters is made without a lock, so a child that is forked meanwhile makes its own."""
    rates = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000]
    pairs = [(a, b) for a in rates for b in rates]
    tone = {rate: linear(_tone(500, rate, 0.2), rate, drift_ppm=5000.0) for rate in rates}
    done = threading.Event()

    def make() -> None:
        for a, b in pairs:
            Renderer([tone[a]], b).read(100)
        done.set()

    maker = threading.Thread(target=make)
    maker.start()
    while not done.is_set():
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            for a, b in pairs[::7]:
                Renderer([tone[a]], b).read(100)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    maker.join()
