"""What a Prometheus server is told of this one."""

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest, multiprocess
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from imgcls.outputs.record import ImageRecord
from imgcls.serving.engine.job import Job

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Where several processes leave their figures for the one that is asked.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counts and times.

    Args:
        live: values of this moment, read when somebody asks: name, help, kind (`gauge` or `counter`), value.
    """

    def __init__(self, live: Callable[[], list[tuple[str, str, str, float]]]) -> None:
        registry = self._registry = CollectorRegistry()
        model = ["model"]
        self._requests = Counter("imgcls_requests", "Requests answered.", ["path", "method", "code"], registry=registry)
        self._latency = Histogram(
            "imgcls_request_seconds", "From the headers to the answer.", ["path"], buckets=SECONDS, registry=registry
        )
        self._queue_wait = Histogram(
            "imgcls_queue_wait_seconds",
            "An image's waits for a decoding thread and for a batch.",
            model,
            buckets=SECONDS,
            registry=registry,
        )
        self._decode = Histogram(
            "imgcls_decode_seconds", "Decoding and resizing of an image.", model, buckets=SECONDS, registry=registry
        )
        self._model = Histogram(
            "imgcls_model_seconds", "A batch through the network.", model, buckets=SECONDS, registry=registry
        )
        self._batch = Histogram(
            "imgcls_batch_images", "Images per batch, counted per image.", model, buckets=SIZES, registry=registry
        )
        self._classes = Counter(
            "imgcls_answers", "Images by the most probable class.", ["model", "label"], registry=registry
        )
        self._errors = Counter(
            "imgcls_image_errors", "Images that can't be classified, by kind.", ["model", "kind"], registry=registry
        )
        self._confidence = Summary(
            "imgcls_confidence", "Probability of the most probable class.", model, registry=registry
        )
        self._reloads = Counter("imgcls_reloads", "Reloads of the models.", ["result"], registry=registry)
        self._in_flight = Gauge(
            "imgcls_requests_in_flight", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._live = _Live(live)
        registry.register(self._live)

    def begin(self) -> None:
        """A request has come."""
        self._in_flight.inc()

    def end(self, path: str, method: str, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            path: of an endpoint, never what a client made up.
            method: HTTP's.
            status: HTTP's; 499 where the client went away.
            seconds: since its headers.
        """
        self._in_flight.dec()
        key = (path, method, status)
        children = self._children.get(key)
        if children is None:
            children = self._requests.labels(path, method, str(status)), self._latency.labels(path)
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def count(self, job: Job, record: ImageRecord) -> None:
        """An image was answered."""
        name = record.model
        self._queue_wait.labels(name).observe(
            max(job.decoding - job.admitted, 0) + max(job.classified - job.decoded_at, 0)
        )
        self._decode.labels(name).observe(max(job.decoded_at - job.decoding, 0))
        self._model.labels(name).observe(max(job.done - job.classified, 0))
        self._batch.labels(name).observe(job.batch_size)
        if record.error:
            self._errors.labels(name, record.error.kind).inc()
        else:
            self._classes.labels(name, record.label).inc()
            self._confidence.labels(name).observe(record.probability)

    def count_reload(self, *, is_done: bool) -> None:
        """The models were loaded anew, or could not be."""
        self._reloads.labels("done" if is_done else "failed").inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' format."""
        if not os.environ.get(FOLDER_VARIABLE):
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        # Of this process alone.
        registry.register(self._live)
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class _Live(Collector):
    """Values that somebody else keeps."""

    def __init__(self, read: Callable[[], list[tuple[str, str, str, float]]]) -> None:
        self._read = read

    def collect(self) -> "list[Metric]":
        """Their values now."""
        metrics: list[Metric] = []
        for name, text, kind, value in self._read():
            family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, text)
            family.add_metric([], value)
            metrics.append(family)
        return metrics
