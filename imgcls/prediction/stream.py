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
from imgcls.prediction.records import ImageRecord, KeptRecord, Prediction, failed_record
from imgcls.prediction.runner import Runner, top_classes

# How long to wait for one more input before a part-full batch is answered: longer than a reader needs to produce the
# next path, shorter than a person or a calling program would notice.
INPUT_PAUSE_SEC = 0.005
# Slow decoding must not hold back answers that are ready: a batch waits for its inputs at most so long.
BATCH_PATIENCE_SEC = 2.0
# How often a wait looks whether it should stop.
POLL_SEC = 0.1

Item = DecodeTask | KeptRecord


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a stream is worked through.

    Attributes:
        top_k: how many classes a record names.
        batch_size: inputs the model sees at once, at most.
        num_threads: that decode; None for one a core.
        max_pixels: larger pictures are refused.
        decode_limit_sec: how long one picture may take to decode.
        fetch_limit_sec: how much longer one that must be fetched first may take.
        threshold: answers less probable are marked uncertain; None marks none.
        fast_decode: scale JPEGs while decoding them: faster, and slightly other answers.
        thumbnail_px: side of the thumbnails that records carry, 0 for none.
        fetch: turns a URL into bytes.
        should_stop: asked between batches; once it is true, what is decoded is answered and the stream ends.
    """

    top_k: int = 5
    batch_size: int = 32
    num_threads: int | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    decode_limit_sec: float = 120.0
    fetch_limit_sec: float = 60.0
    threshold: float | None = None
    fast_decode: bool = False
    thumbnail_px: int = 0
    fetch: Callable[[str], bytes] = fetch_image
    should_stop: Callable[[], bool] = lambda: False


def classify_stream(
    inputs: Iterable[Source | KeptRecord], runner: Runner, settings: StreamSettings
) -> Iterator[ImageRecord | KeptRecord]:
    """Classify inputs as they come: exactly one record an input, in their order.

    Args:
        inputs: any iterable; it is read ahead by about two batches, in a thread of its own. Records that are kept from
            an earlier run pass through in their place.
        runner: the model.
        settings: see `StreamSettings`.
    Raises:
        Exception: whatever the iterable of inputs or the model raises.
    """
    pool = DecodePool(
        runner.transform,
        num_threads=settings.num_threads or available_cores(),
        max_pixels=settings.max_pixels,
        time_limit_sec=settings.decode_limit_sec,
        fetch_limit_sec=settings.fetch_limit_sec,
        fast_decode=settings.fast_decode,
        fetch=settings.fetch,
        thumbnail_px=settings.thumbnail_px,
    )
    reader = _Reader(inputs, pool, depth=2 * settings.batch_size)
    try:
        for batch in _batches(reader, settings):
            yield from _classify(batch, pool, runner, settings)
    finally:
        reader.stop()
        pool.close()


class _Reader:
    """Reads the inputs ahead, in a thread of its own, as far as the queue is deep."""

    def __init__(self, inputs: Iterable[Source | KeptRecord], pool: DecodePool, *, depth: int) -> None:
        self._inputs = inputs
        self._pool = pool
        self._items: queue.Queue[Item | BaseException | None] = queue.Queue(maxsize=depth)
        self._stopped = threading.Event()
        threading.Thread(target=self._read, name="read inputs", daemon=True).start()

    def get(self, timeout_sec: float) -> Item | None:
        """The next item, None after the last.

        Raises:
            queue.Empty: none has come in time.
            Exception: what the iterable of inputs raised.
        """
        item = self._items.get(timeout=timeout_sec)
        if isinstance(item, BaseException):
            raise item
        return item

    def stop(self) -> None:
        """Read no more."""
        self._stopped.set()

    def _read(self) -> None:
        last: BaseException | None = None
        try:
            for entry in self._inputs:
                if not self._put(entry if isinstance(entry, KeptRecord) else self._pool.submit(entry)):
                    return
        except BaseException as exc:
            last = exc
        self._put(last)

    def _put(self, item: Item | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._items.put(item, timeout=POLL_SEC)
                return True
            except queue.Full:
                continue
        return False


def _batches(reader: _Reader, settings: StreamSettings) -> Iterator[list[Item]]:
    """Gather items: a full batch while input comes without a pause, else what is there."""
    slow: Item | None = None
    while not settings.should_stop():
        try:
            item = slow or reader.get(POLL_SEC)
        except queue.Empty:
            continue
        slow = None
        batch: list[Item] = []
        deadline = time.monotonic() + BATCH_PATIENCE_SEC
        failure: BaseException | None = None
        while item is not None:
            batch.append(item)
            if isinstance(item, DecodeTask):
                _wait_for(item, deadline, settings.should_stop)
            if len(batch) == settings.batch_size or time.monotonic() > deadline:
                break
            try:
                item = reader.get(INPUT_PAUSE_SEC)
            except queue.Empty:
                break
            except Exception as exc:
                failure = exc
                break
        if settings.should_stop():
            # Answer what is decoded and leave the rest: a slow picture must not hold up the end.
            batch = batch[: next((i for i, it in enumerate(batch) if _is_pending(it)), len(batch))]
        elif len(batch) > 1 and _is_pending(batch[-1]):
            # The others are not held back by one that takes long; it opens the next batch.
            slow = batch.pop()
        if batch:
            yield batch
        if failure is not None:
            raise failure
        if item is None:
            return


def _wait_for(task: DecodeTask, deadline: float, should_stop: Callable[[], bool]) -> None:
    while not should_stop() and (patience := deadline - time.monotonic()) > 0:
        if task.done.wait(min(patience, POLL_SEC)):
            return


def _is_pending(item: Item) -> bool:
    return isinstance(item, DecodeTask) and not item.done.is_set()


def _classify(
    batch: list[Item], pool: DecodePool, runner: Runner, settings: StreamSettings
) -> Iterator[ImageRecord | KeptRecord]:
    outcomes = [item if isinstance(item, KeptRecord) else pool.result(item) for item in batch]
    crops = [outcome for outcome in outcomes if isinstance(outcome, Crop)]
    answers = iter(runner.probabilities(np.stack([crop.pixels_HWC for crop in crops])) if crops else ())
    for item, outcome in zip(batch, outcomes, strict=True):
        if isinstance(item, KeptRecord):
            yield item
        elif isinstance(outcome, ImageError):
            yield failed_record(item.source.name, runner.id, outcome, item.version)
        else:
            assert isinstance(outcome, Crop)
            yield _record(item, outcome, next(answers), runner, settings)


def _record(
    task: DecodeTask, crop: Crop, probabilities_K: Floats, runner: Runner, settings: StreamSettings
) -> ImageRecord:
    predictions = tuple(
        Prediction(index, runner.classes[index], float(probabilities_K[index]))
        for index in top_classes(probabilities_K, settings.top_k)
    )
    threshold = settings.threshold
    return ImageRecord(
        input=task.source.name,
        model=runner.id,
        predictions=predictions,
        width=crop.width,
        height=crop.height,
        uncertain=None if threshold is None else predictions[0].probability < threshold,
        version=task.version,
        thumbnail=crop.thumbnail,
    )


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
