"""Worker processes, and signals that are sent to a whole group."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import pytest

from callreplay.cores import begin_worker, start_workers


@pytest.mark.started
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_signal_to_all_while_a_worker_starts(
    goes_on: bool, number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    begin = partial(begin_worker, goes_on=goes_on)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=begin) as pool:
        future = start_workers(lambda: pool.submit(os.getpid))
        [worker] = pool._processes
        os.kill(worker, number)
        if goes_on:
            assert future.result(60) == worker
        else:
            with pytest.raises(BrokenProcessPool):
                future.result(60)
    assert capfd.readouterr().err == ""
