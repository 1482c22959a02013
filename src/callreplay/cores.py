"""How many cores there are for this process, and processes that use them and end with the one that began them."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["begin_worker", "cores", "start_workers", "undisturbed"]

T = TypeVar("T")

_TO_ALL: Final = (signal.SIGINT, signal.SIGTERM)
"""What a terminal (Ctrl-C) and a service manager send to every process of a group."""


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def undisturbed(work: Callable[[], None]) -> None:
    """Do ``work`` in a thread, where no handler of a signal raises; wait for it however often Ctrl-C is pressed.

    Of a process that is started the number would else be lost where a signal comes in the midst.
    """
    raised: list[BaseException | None] = []
    through = _thread.allocate_lock()
    through.acquire()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)
        else:
            raised.append(None)
        finally:
            through.release()

    start, begun = _thread.start_new_thread, False
    signalled: BaseException | None = None
    while not raised:
        try:
            if not begun:
                begun = True  # no handler comes between this and the call
                start(run, ())
            through.acquire()
        except Exception:
            raise
        except BaseException as error:  # KeyboardInterrupt, and its like; perhaps when all is done
            signalled = error
    if failed := signalled or raised[0]:
        raise failed


def start_workers(begin: Callable[[], T]) -> T:
    """What ``begin`` returns, which may start worker processes: they begin with signals to the whole group held back.

    Else such a signal would end them, with a traceback for each, before they can say what they make of it; or end the
    parent's part of their start.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # first, as that lets the signals through again
    made: list[T] = []

    def work() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _TO_ALL)  # of this thread, and of what it starts
        made.append(begin())

    undisturbed(work)
    return made[0]


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
