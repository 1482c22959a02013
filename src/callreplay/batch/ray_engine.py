"""The same run on a Ray cluster: shares as tasks, manifest and outputs as the local engine makes them.

Ray brings the scheduling and the retries of tasks whose worker or node died; everything else, backpressure included, is
``engine.run_batch``. Outputs are named and written by the same code, so a retried task writes the same bytes under the
same name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from callreplay.batch.engine import BatchSettings, Summary, run_batch, work
from callreplay.batch.jobs import Job
from callreplay.batch.manifest import Row
from callreplay.errors import UnsupportedError

__all__ = ["run_batch_on_ray"]


class _RayPool:
    """An executor whose tasks run on the cluster."""

    def __init__(self, ray: Any) -> None:
        self._task = ray.remote(num_cpus=1, max_retries=5, retry_exceptions=False)(work)

    def submit(self, function: Callable[..., list[Row]], *arguments: Any) -> Future[list[Row]]:
        """Run ``work`` there; ``function`` is what the local engine would call, and is that same function."""
        future: Future[list[Row]] = self._task.remote(*arguments).future()
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def run_batch_on_ray(
    jobs: Sequence[Job],
    settings: BatchSettings,
    *,
    address: str = "",
    on_row: Callable[[Row], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """``run_batch`` on the cluster at ``address`` (empty: the one of this machine, started if there is none).

    Captures and the destination must be reachable under the same names from every node. Raises UnsupportedError when
    Ray is not installed.
    """
    try:
        import ray as module
    except ImportError as error:
        raise UnsupportedError("the ray engine needs Ray: pip install 'callreplay[ray]'") from error
    ray: Any = module
    started = not ray.is_initialized()
    if started:
        ray.init(
            address=address or None, log_to_driver=False, include_dashboard=False, configure_logging=False
        )
    try:
        cores = int(ray.cluster_resources().get("CPU", 1))
        from dataclasses import replace

        spread = settings if settings.workers else replace(settings, workers=cores)
        return run_batch(jobs, spread, on_row=on_row, stop=stop, pool=lambda: _RayPool(ray))
    finally:
        if started:
            ray.shutdown()
