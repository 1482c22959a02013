"""The same run on a Ray cluster: shares as tasks that stream their rows, manifest and outputs as the local engine's.

Ray brings the scheduling. Retries are the engine's own: it knows which outputs of a dead task are whole, and cuts the
rest up until what kills is alone. Outputs are named and written by the same code, so a retried task writes the same
bytes under the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from callreplay.batch.crew import Event, Share
from callreplay.batch.destinations import open_destination
from callreplay.batch.engine import BatchSettings, run_batch
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row
from callreplay.batch.summary import Summary
from callreplay.batch.worker import Order, run_share
from callreplay.errors import UnsupportedError

__all__ = ["run_batch_on_ray"]

_ROWS_AHEAD = 64  # of a task, before it waits for them to be taken


def _stream(jobs: Share, order: Order, destination: str) -> Iterator[Row]:
    yield from run_share(jobs, order, open_destination(destination))


class _RayCrew:
    """Tasks of the cluster, one per core, and one more for each that wait for a core to come free."""

    streams = False

    def __init__(self, ray: Any, count: int, order: Order, destination: str) -> None:
        self._ray, self._count = ray, count
        self._task = ray.remote(
            num_cpus=1,
            max_retries=0,
            num_returns="streaming",
            _generator_backpressure_num_objects=_ROWS_AHEAD,
        )(_stream)
        self._arguments = (ray.put(order), destination)
        self._tasks: dict[Any, int] = {}

    def free(self, *, alone: bool) -> bool:  # a task always has its process to itself
        """Whether the cluster may be asked for more."""
        return len(self._tasks) < self._count + 1

    def start(self, share: int, jobs: Share, *, alone: bool) -> None:
        """Submit the share."""
        self._tasks[self._task.remote(jobs, *self._arguments)] = share

    def finish(self) -> None:
        """Tasks of the cluster cannot be told; they finish their shares."""

    def events(self, seconds: float) -> Iterator[Event]:
        """Rows and ends of the tasks; any error of Ray's is the end of its share."""
        ready, _ = self._ray.wait(list(self._tasks), timeout=seconds, fetch_local=False)
        for task in ready:
            share = self._tasks[task]
            try:
                row = self._ray.get(next(task))
            except StopIteration:
                del self._tasks[task]
                yield Event(share, ended=True)
            except Exception as error:  # Ray's many kinds, and whatever the task raised
                del self._tasks[task]
                yield Event(share, ended=True, error=f"{type(error).__name__}: {str(error).splitlines()[0]}")
            else:
                yield Event(share, row=row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            self._ray.cancel(task, force=True)


def run_batch_on_ray(
    jobs: Sequence[Job],
    settings: BatchSettings,
    *,
    address: str = "",
    on_start: Callable[[Sequence[Job]], None] = lambda _: None,
    on_row: Callable[[Row], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """``run_batch`` on the cluster at ``address`` (empty: the one of this machine, started if there is none).

    ``workers`` are by default the cluster's cores.
    Captures and the destination must be reachable under the same names from every node. Raises UnsupportedError when
    Ray is not installed.
    """
    try:
        import ray as module
    except ImportError as error:
        raise UnsupportedError("the ray engine needs Ray: pip install 'callreplay[ray]'") from error
    if address.startswith("ray://"):
        raise UnsupportedError(
            f"{address}: the Ray Client cannot stream results; run this on a node of the cluster and give --address "
            "HOST:PORT of its head (6379 unless it was told another), or none there"
        )
    ray: Any = module
    started = not ray.is_initialized()
    if started:
        ray.init(
            address=address or None, log_to_driver=False, include_dashboard=False, configure_logging=False
        )
    try:
        count = settings.workers or int(ray.cluster_resources().get("CPU", 1))
        return run_batch(
            jobs,
            replace(settings, workers=count),
            on_start=on_start,
            on_row=on_row,
            stop=stop,
            crew=lambda order: _RayCrew(ray, count, order, settings.place),
        )
    finally:
        if started:
            ray.shutdown()
