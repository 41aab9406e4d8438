"""The hub's figures in the format of Prometheus. Imported when somebody asks for them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from server import __version__
from server.metrics import Histogram

if TYPE_CHECKING:
    from server.service import Service


def exposition(service: Service) -> bytes:
    """All metrics as text, in the format of `prometheus_client.CONTENT_TYPE_PLAIN_0_0_4`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(service))
    return generate_latest(registry)


class _Figures(Collector):
    """What `Metrics` counted, and what the store says now."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._metrics = service.metrics

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        metrics = self._metrics
        yield _counts("one_tool_calls", "Calls of tools.", ("tool", "outcome"), metrics.calls)
        yield _counts("one_requests", "Other requests of MCP.", ("method", "outcome"), metrics.requests)
        responses = {(str(status),): count for status, count in metrics.responses.items()}
        yield _counts("one_http_responses", "Answers to requests over HTTP at /mcp.", ("status",), responses)
        whole = HistogramMetricFamily("one_tool_seconds", "What calls of tools took.", labels=["tool"])
        for tool, histogram in metrics.seconds.items():
            whole.add_metric([tool], *_parts(histogram))
        yield whole
        yield _histogram("one_queue_seconds", "What writing calls waited for their turn.", metrics.queue)
        yield _histogram("one_durable_seconds", "What writing calls waited for the disk.", metrics.commit)
        yield _histogram("one_search_seconds", "What calls spent in the index.", metrics.search)
        yield _histogram("one_commit_seconds", "What commits took.", metrics.commits)
        yield _histogram("one_commit_requests", "Requests in a commit.", metrics.batches)
        yield from self._store()
        yield from self._process()
        for name, (words, value) in metrics.gauges.items():
            yield GaugeMetricFamily(name, words, value=value())

    def _store(self) -> Iterator[Metric]:
        store = self._service.engine.store
        caches = CounterMetricFamily("one_cache_reads", "Reads of the caches.", labels=["cache", "found"])
        used = GaugeMetricFamily("one_cache_bytes", "Bytes in the caches.", labels=["cache"])
        for name, cache in store.caches().items():
            caches.add_metric([name, "yes"], cache.hits)
            caches.add_metric([name, "no"], cache.misses)
            used.add_metric([name], cache.used)
        yield caches
        yield used
        index = store.index.status()
        pending = index.get("pending")
        if isinstance(pending, int):
            yield GaugeMetricFamily("one_index_pending", "Rows that are not embedded yet.", value=pending)
        yield GaugeMetricFamily("one_index_alarm", "1: the index has trouble.", value="alarm" in index)
        yield GaugeMetricFamily("one_messages", "Messages.", value=store.pages.timeline.count())
        yield GaugeMetricFamily("one_waiting", "Calls that wait for messages.", value=len(store.arrivals))
        analytics = store.snapshots.status()
        if "ageSeconds" in analytics:
            words = "How far analytics.duckdb is behind."
            yield GaugeMetricFamily("one_snapshot_age_seconds", words, value=analytics["ageSeconds"])
            yield GaugeMetricFamily("one_snapshot_bytes", "Size of analytics.duckdb.", value=analytics["bytes"])
        alarm = "error" in analytics
        yield GaugeMetricFamily("one_snapshot_alarm", "1: no snapshot could be made.", value=alarm)

    def _process(self) -> Iterator[Metric]:
        process = psutil.Process()
        with process.oneshot():
            times = process.cpu_times()
            rss, started = process.memory_info().rss, process.create_time()
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory.", value=rss)
        yield CounterMetricFamily("process_cpu_seconds", "Processor time.", value=times.user + times.system)
        yield GaugeMetricFamily("process_start_time_seconds", "Start, since the epoch.", value=started)
        yield GaugeMetricFamily("one_uptime_seconds", "Since the start.", value=time.time() - started)
        info = GaugeMetricFamily("one_info", "Always 1.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        ready = self._service.unready() is None
        yield GaugeMetricFamily("one_ready", "1: /readyz says yes.", value=ready)


def _counts(name: str, words: str, labels: tuple[str, ...], counts: Mapping[Any, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, words, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(values, count)
    return family


def _histogram(name: str, words: str, histogram: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, words)
    family.add_metric([], *_parts(histogram))
    return family


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(float(bound))


def _parts(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """The counts up to each bound, and the sum."""
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        below += count
        buckets.append((_bound(bound), below))
    return buckets, histogram.total
