"""Many inputs through one model: read, decode and classify at the same time, records in input order.

    reader thread      iterates the inputs, hands each to the decode pool, queues the task
    decode threads     bytes -> upright RGB -> resized and cropped pixels
    caller's thread    gathers decoded inputs into batches, runs the model, yields records

The queue is bounded, so memory doesn't grow with the number of inputs. A batch is full while there is input; when the
input pauses, what is there is answered at once.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from imgcls.core.transforms import Floats
from imgcls.data.decoding import DEFAULT_MAX_PIXELS
from imgcls.data.sources import Source
from imgcls.errors import ImageError
from imgcls.prediction.decode_pool import Crop, DecodePool, DecodeTask
from imgcls.prediction.fetch import fetch_image
from imgcls.prediction.records import ImageRecord, Prediction, failed_record
from imgcls.prediction.runner import Runner, top_classes

# How long to wait for one more input before a part-full batch is answered: longer than a reader needs to produce the
# next path, shorter than a person or a calling program would notice.
INPUT_PAUSE_SEC = 0.005
# Slow decoding must not hold back answers that are ready: a batch waits for its inputs at most so long.
BATCH_PATIENCE_SEC = 2.0


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a stream is worked through.

    Attributes:
        top_k: how many classes a record names.
        batch_size: inputs the model sees at once, at most.
        num_threads: that decode; None for one a core.
        max_pixels: larger pictures are refused.
        decode_limit_sec: how long one picture may take to decode.
        fetch: turns a URL into bytes.
    """

    top_k: int = 5
    batch_size: int = 32
    num_threads: int | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    decode_limit_sec: float = 120.0
    fetch: Callable[[str], bytes] = fetch_image


def classify_stream(sources: Iterable[Source], runner: Runner, settings: StreamSettings) -> Iterator[ImageRecord]:
    """Classify inputs as they come: exactly one record an input, in their order.

    Args:
        sources: any iterable; it is read ahead by about two batches, in a thread of its own.
        runner: the model.
        settings: see `StreamSettings`.
    Raises:
        Exception: whatever the iterable of sources or the model raises.
    """
    pool = DecodePool(
        runner.transform,
        num_threads=settings.num_threads or available_cores(),
        max_pixels=settings.max_pixels,
        time_limit_sec=settings.decode_limit_sec,
        fetch=settings.fetch,
    )
    tasks: queue.Queue[DecodeTask | BaseException | None] = queue.Queue(maxsize=2 * settings.batch_size)
    stopped = threading.Event()
    reader = threading.Thread(target=_read, args=(sources, pool, tasks, stopped), name="read inputs", daemon=True)
    reader.start()
    try:
        for batch in _batches(tasks, settings.batch_size):
            yield from _classify(batch, pool, runner, settings.top_k)
    finally:
        stopped.set()
        pool.close()


def _read(
    sources: Iterable[Source],
    pool: DecodePool,
    tasks: "queue.Queue[DecodeTask | BaseException | None]",
    stopped: threading.Event,
) -> None:
    last: BaseException | None = None
    try:
        for source in sources:
            task = pool.submit(source)
            while not stopped.is_set():
                try:
                    tasks.put(task, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if stopped.is_set():
                return
    except BaseException as exc:
        last = exc
    while not stopped.is_set():
        try:
            tasks.put(last, timeout=0.2)
            return
        except queue.Full:
            continue


def _batches(tasks: "queue.Queue[DecodeTask | BaseException | None]", batch_size: int) -> Iterator[list[DecodeTask]]:
    while True:
        item = tasks.get()
        batch: list[DecodeTask] = []
        deadline = time.monotonic() + BATCH_PATIENCE_SEC
        while isinstance(item, DecodeTask):
            batch.append(item)
            if len(batch) == batch_size or time.monotonic() > deadline:
                break
            item.done.wait(max(0.0, deadline - time.monotonic()))
            try:
                item = tasks.get(timeout=INPUT_PAUSE_SEC)
            except queue.Empty:
                break
        if batch:
            yield batch
        if isinstance(item, BaseException):
            raise item
        if item is None:
            return


def _classify(batch: list[DecodeTask], pool: DecodePool, runner: Runner, top_k: int) -> Iterator[ImageRecord]:
    outcomes = [pool.result(task) for task in batch]
    crops = [outcome for outcome in outcomes if isinstance(outcome, Crop)]
    answers = iter(runner.probabilities(np.stack([crop.pixels_HWC for crop in crops])) if crops else ())
    for task, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, ImageError):
            yield failed_record(task.source.name, runner.id, outcome)
            continue
        probabilities_K: Floats = next(answers)
        yield ImageRecord(
            input=task.source.name,
            model=runner.id,
            predictions=tuple(
                Prediction(index, runner.classes[index], float(probabilities_K[index]))
                for index in top_classes(probabilities_K, top_k)
            ),
            width=outcome.width,
            height=outcome.height,
        )


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
