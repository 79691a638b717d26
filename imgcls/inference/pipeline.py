"""Many inputs through one model: read, decode and classify at the same time, records in input order.

    reader thread      iterates the inputs, hands each to the decode pool, queues the task
    download threads   URL -> bytes, 16 at once
    decode threads     bytes -> upright RGB -> resized and cropped pixels
    caller's thread    gathers decoded inputs into batches, yields records
    batch executor    each runs the model on a batch

The queue is bounded, so memory doesn't grow with the number of inputs. A batch is full while there is input; when the
input pauses, what is there is answered at once.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from imgcls.host.resources import available_cores
from imgcls.images.decoding import DEFAULT_MAX_PIXELS
from imgcls.images.download import fetch_image
from imgcls.images.sources import Source
from imgcls.images.transform import Floats, Pixels
from imgcls.inference.backends.backend import Backend, top_classes
from imgcls.inference.batch_executor import BatchExecutor
from imgcls.inference.batching import Batcher
from imgcls.inference.decode_pool import Crop, DecodePool, DecodeTask
from imgcls.outputs.record import ImageRecord, KeptRecord, Prediction, failed_record

# How long to wait for one more input before a part-full batch is answered: longer than a reader needs to produce the
# next path, shorter than a person or a calling program would notice.
INPUT_PAUSE_SEC = 0.005
# Slow decoding must not hold back answers that are ready: a batch waits for its inputs at most so long.
BATCH_PATIENCE_SEC = 2.0
# How often a wait looks whether it should stop.
POLL_SEC = 0.1
# Records kept from an earlier run cost no batch a place, but no answer waits for more than so many of them.
MAX_ITEMS = 1024

Item = DecodeTask | KeptRecord


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a stream is worked through.

    Attributes:
        top_k: how many classes a record names.
        batch_size: inputs the model sees at once, at most.
        num_threads: that decode; None for one a core.
        max_pixels: larger images are refused.
        decode_limit_sec: how long one image may take to decode.
        fetch_limit_sec: how long one URL may take to fetch.
        threshold: answers less probable are marked uncertain; None marks none.
        fast_decode: scale JPEGs while decoding them: faster, and slightly other answers.
        thumbnail_px: side of the thumbnails that records carry, 0 for none.
        is_padded: whether an answer depends to its last digit on the image alone, and not on which others it shares
            a batch with; part-full batches then cost as much as full ones.
        fetch: turns a URL into bytes.
        should_stop: asked all the time; once it is true, the batches in hand are answered and the stream ends.
        on_smaller_batch: called with the new batch size when the device's memory doesn't hold the one asked for.
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
    is_padded: bool = False
    fetch: Callable[[str], bytes] = fetch_image
    should_stop: Callable[[], bool] = lambda: False
    on_smaller_batch: Callable[[int], None] = lambda _size: None


def classify_stream(
    inputs: Iterable[Source | KeptRecord], backend: Backend, settings: StreamSettings
) -> Iterator[ImageRecord | KeptRecord]:
    """Classify inputs as they come: exactly one record an input, in their order.

    Args:
        inputs: any iterable; it is read ahead by a few batches, in a thread of its own. Records that are kept from
            an earlier run pass through in their place.
        backend: the model.
        settings: see `StreamSettings`.
    Raises:
        Exception: whatever the iterable of inputs or the model raises.
    """
    pool = DecodePool(
        backend.transform,
        num_threads=settings.num_threads or available_cores(),
        max_pixels=settings.max_pixels,
        time_limit_sec=settings.decode_limit_sec,
        fetch_limit_sec=settings.fetch_limit_sec,
        fast_decode=settings.fast_decode,
        fetch=settings.fetch,
        thumbnail_px=settings.thumbnail_px,
    )
    batches = Batcher(
        backend,
        batch_size=settings.batch_size,
        is_padded=settings.is_padded,
        on_smaller_batch=settings.on_smaller_batch,
    )
    executor: BatchExecutor[list[Item]] = BatchExecutor(backend, batches, is_reproducible=settings.is_padded)
    reader = _Reader(inputs, pool, depth=2 * settings.batch_size)
    try:
        for items in _gather(reader, pool, settings):
            for answered, answers in executor.add(items, _pixels(items)) if items else executor.drain():
                yield from _records(answered, answers, backend, settings)
        if settings.should_stop():
            executor.drop_waiting()
        for answered, answers in executor.drain():
            yield from _records(answered, answers, backend, settings)
    finally:
        reader.stop()
        pool.close()
        executor.close()


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


def _gather(reader: _Reader, pool: DecodePool, settings: StreamSettings) -> Iterator[list[Item]]:
    """Gather decoded items: a full batch while input comes without a pause, else what is there.

    Yields:
        Also an empty list, where the next item lets wait for itself: no answer should wait for it.
    """
    late: Item | None = None
    patience_sec = INPUT_PAUSE_SEC
    while not settings.should_stop():
        try:
            item = late or reader.get(patience_sec)
        except queue.Empty:
            if patience_sec == INPUT_PAUSE_SEC:
                patience_sec = POLL_SEC
                yield []
            continue
        except Exception:
            yield []
            raise
        patience_sec = INPUT_PAUSE_SEC
        if late is not None:
            late = None
            yield []
        items: list[Item] = []
        num_tasks = 0
        deadline = time.monotonic() + BATCH_PATIENCE_SEC
        failure: Exception | None = None
        while item is not None:
            if isinstance(item, DecodeTask):
                if not _wait_until(deadline, item, pool, settings.should_stop):
                    # It takes long, and the others are not held back by it: it opens the next batch.
                    late = item
                    break
                num_tasks += 1
            items.append(item)
            if num_tasks == settings.batch_size or len(items) == MAX_ITEMS or time.monotonic() > deadline:
                break
            try:
                item = reader.get(INPUT_PAUSE_SEC)
            except queue.Empty:
                break
            except Exception as exc:
                failure = exc
                break
        if items:
            yield items
        if failure is not None:
            yield []
            raise failure
        if item is None:
            return


def _wait_until(deadline: float, task: DecodeTask, pool: DecodePool, should_stop: Callable[[], bool]) -> bool:
    """Whether a task is through by the deadline; no longer waited for once it is time to stop."""
    while not pool.wait(task, max(min(deadline - time.monotonic(), POLL_SEC), 0)):
        if should_stop() or time.monotonic() > deadline:
            return False
    return True


def _pixels(items: list[Item]) -> list[Pixels]:
    return [
        item.outcome.pixels_HWC for item in items if isinstance(item, DecodeTask) and isinstance(item.outcome, Crop)
    ]


def _records(
    items: list[Item], answers: list[Floats], backend: Backend, settings: StreamSettings
) -> Iterator[ImageRecord | KeptRecord]:
    remaining = iter(answers)
    for item in items:
        if isinstance(item, KeptRecord):
            yield item
        elif isinstance(item.outcome, Crop):
            yield _record(item, item.outcome, next(remaining), backend, settings)
        else:
            assert item.outcome is not None
            yield failed_record(item.source.name, backend.id, item.outcome, item.version)


def _record(
    task: DecodeTask, crop: Crop, probabilities_K: Floats, backend: Backend, settings: StreamSettings
) -> ImageRecord:
    predictions = tuple(
        Prediction(index, backend.classes[index], float(probabilities_K[index]))
        for index in top_classes(probabilities_K, settings.top_k)
    )
    threshold = settings.threshold
    return ImageRecord(
        input=task.source.name,
        model=backend.id,
        predictions=predictions,
        width=crop.width,
        height=crop.height,
        uncertain=None if threshold is None else predictions[0].probability < threshold,
        version=task.version,
        thumbnail=crop.thumbnail,
    )
