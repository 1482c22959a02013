"""Prometheus metrics. With several workers, prometheus_client's shared files make one view of them all."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["Metrics"]

_M = TypeVar("_M", Counter, Histogram)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class _Labelled(Generic[_M]):
    """A metric whose children are kept: to ask for one by its labels takes prometheus_client a lock and ten calls."""

    def __init__(self, metric: _M) -> None:
        self._metric: _M = metric
        self._children: dict[tuple[str, ...], _M] = {}

    def labels(self, *values: str) -> _M:
        """The child of these labels."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._metric.labels(*values)
        return child


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        labels = ("method", "route", "status")
        self.requests = _Labelled(
            Counter("callreplay_requests", "Requests answered.", labels, registry=self.registry)
        )
        self.request_seconds = _Labelled(
            Histogram(
                "callreplay_request_seconds",
                "Time to the first byte.",
                ("route",),
                buckets=_SECONDS,
                registry=self.registry,
            )
        )
        self.transcodes = _Labelled(
            Counter(
                "callreplay_transcodes", "Calls transcoded.", ("format", "result"), registry=self.registry
            )
        )
        self.transcode_seconds = _Labelled(
            Counter(
                "callreplay_transcode_seconds",
                "Seconds spent on transcoding.",
                ("format",),
                registry=self.registry,
            )
        )
        self.audio_seconds = _Labelled(
            Counter(
                "callreplay_transcoded_audio_seconds",
                "Seconds of call that were transcoded; divided by callreplay_transcode_seconds_total: times real time.",
                ("format",),
                registry=self.registry,
            )
        )
        self.first_byte = Histogram(
            "callreplay_transcode_first_byte_seconds",
            "Time until a transcode's first byte.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.cache = _Labelled(
            Counter(
                "callreplay_cache_requests",
                "Answers by the cache: hit, joined (work under way), miss.",
                ("result",),
                registry=self.registry,
            )
        )
        self.evicted = Counter("callreplay_cache_evicted_bytes", "Octets evicted.", registry=self.registry)
        self.logins = _Labelled(Counter("callreplay_logins", "Logins.", ("result",), registry=self.registry))
        self.cache_bytes = self._gauge("callreplay_cache_bytes", "Octets in the cache.", "mostrecent")
        self.running = self._gauge("callreplay_transcodes_running", "Transcodes under way.", "livesum")
        self.pool_size = self._gauge("callreplay_database_connections", "Database connections.", "livesum")
        self.pool_waiting = self._gauge(
            "callreplay_database_waiting", "Requests that wait for a database connection.", "livesum"
        )

    def _gauge(self, name: str, text: str, mode: str) -> Gauge:
        return Gauge(name, text, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]

    def watch_pool(self, statistics: Callable[[], dict[str, int]]) -> None:
        """Read the pool's figures now."""
        figures = statistics()
        self.pool_size.set(figures.get("pool_size", 0))
        self.pool_waiting.set(figures.get("requests_waiting", 0))

    def text(self) -> bytes:
        """The exposition, text format 0.0.4."""
        if not self.shared:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
