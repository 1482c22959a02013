"""How many cores there are for this process, and processes that use them and end with the one that began them."""

from __future__ import annotations

import os
import threading

__all__ = ["cores", "end_with_parent"]


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_with_parent() -> None:
    """In a worker process: end when the process that began it ends, however it does.

    A pool's worker holds both ends of the pipe from which it takes work, and would wait at it for ever.
    """
    threading.Thread(target=_wait_for_parent, name="parent", daemon=True).start()


def _wait_for_parent() -> None:
    import multiprocessing  # where it is used, it is loaded; `import callreplay` does without

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
