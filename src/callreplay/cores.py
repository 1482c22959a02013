"""How many cores there are for this process, and processes that use them and end with the one that began them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Final

__all__ = ["begin_worker", "cores", "starting_workers"]

_TO_ALL: Final = (signal.SIGINT, signal.SIGTERM)
"""What a terminal (Ctrl-C) and a service manager send to every process of a group."""


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def starting_workers() -> Iterator[None]:
    """While worker processes are started, or may be: they begin with signals to the whole group held back.

    Else such a signal would end them, with a traceback for each, before they can say what they make of it.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # first, as that lets the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(*, goes_on: bool) -> None:
    """First of all in a worker process: ``goes_on`` where it finishes what it has when signals are sent to all.

    Otherwise they end it at once, without a word. It ends when the process that began it ends, however that does: a
    pool's worker holds both ends of the pipe from which it takes work, and would wait at it for ever.
    """
    for number in _TO_ALL:
        signal.signal(number, signal.SIG_IGN if goes_on else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_ALL)
    threading.Thread(target=_wait_for_parent, name="parent", daemon=True).start()


def _wait_for_parent() -> None:
    import multiprocessing  # where it is used, it is loaded; `import callreplay` does without

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
