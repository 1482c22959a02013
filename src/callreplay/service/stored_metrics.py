"""Metrics of what is stored, read from the database when they are asked for: one answer, whichever worker gives it."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from callreplay.store.activity import Activity, Stored
from callreplay.store.objects import UNBOUNDED
from callreplay.store.volumes import Volume

__all__ = ["stored_text"]


class _Figures(Collector):
    def __init__(self, found: Stored | None) -> None:
        self.found = found

    def collect(self) -> Iterator[Metric]:
        found = self.found
        yield GaugeMetricFamily(
            "callreplay_database_up", "1 where the database answers, 0 where it does not.", found is not None
        )
        if found is None:
            return
        yield GaugeMetricFamily(
            "callreplay_calls_stored", "Calls stored, as PostgreSQL estimates.", found.calls
        )
        if found.filled_at is not None:
            yield GaugeMetricFamily(
                "callreplay_call_stored_timestamp_seconds",
                "When a call was last put on a volume.",
                found.filled_at.timestamp(),
            )
        yield from _volumes(found.volumes)
        yield from _activities(found.activities)


def _volumes(listing: list[Volume]) -> Iterator[Metric]:
    labels = ("volume", "name")
    used = GaugeMetricFamily("callreplay_volume_used_bytes", "Octets of calls on a volume.", labels=labels)
    free = GaugeMetricFamily("callreplay_volume_free_bytes", "Octets that its disk has left.", labels=labels)
    left = GaugeMetricFamily(
        "callreplay_volume_left_bytes", "Octets that may still be put on it: disk and quota.", labels=labels
    )
    reserved = GaugeMetricFamily("callreplay_volume_reserved_bytes", "Octets to be kept free.", labels=labels)
    usable = GaugeMetricFamily(
        "callreplay_volume_usable", "1 where the volume is in its place, 0 where it is not.", labels=labels
    )
    for volume in listing:
        values = (str(volume.id), volume.name)
        disk = volume.free_bytes
        used.add_metric(values, volume.used_bytes)
        reserved.add_metric(values, volume.reserved_bytes)
        usable.add_metric(values, disk >= 0)
        if 0 <= disk < UNBOUNDED:
            free.add_metric(values, disk)
        if disk >= 0:
            left.add_metric(values, 0 if volume.retired else volume.left_bytes)
    yield from (used, free, left, reserved, usable)


def _activities(activities: list[Activity]) -> Iterator[Metric]:
    labels = ("by",)
    captures = CounterMetricFamily(
        "callreplay_imported_captures", "Captures read by import, watch and record.", labels=("by", "result")
    )
    calls = CounterMetricFamily("callreplay_imported_calls", "Calls that they added.", labels=labels)
    warnings = CounterMetricFamily("callreplay_import_warnings", "Warnings that they gave.", labels=labels)
    at = GaugeMetricFamily(
        "callreplay_import_timestamp_seconds", "When one of them last finished a capture.", labels=labels
    )
    for each in activities:
        captures.add_metric((each.by, "done"), each.captures - each.failed)
        captures.add_metric((each.by, "failed"), each.failed)
        calls.add_metric((each.by,), each.calls)
        warnings.add_metric((each.by,), each.warnings)
        at.add_metric((each.by,), each.at.timestamp())
    yield from (captures, calls, warnings, at)


def stored_text(found: Stored | None) -> bytes:
    """The exposition of what is stored (None: the database does not answer), text format 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Figures(found))
    return generate_latest(registry)
