"""Many inputs through one model: read, decode and classify at the same time, records in input order.

    reader thread      iterates the inputs, hands each to the decode pool, queues the task
    download threads   URL -> bytes, 16 at once
    decode threads     bytes -> upright RGB -> resized and cropped pixels
    caller's thread    gathers decoded inputs into batches, yields records
    batch executor     its threads each take a batch through the model (`Predictor.predict_decoded`)

The queue is bounded, so memory doesn't grow with the number of inputs. A batch is full while there is input; when the
input pauses, what is there is answered at once.
"""

import functools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from imgcls.images.inputs.source import Source
from imgcls.inference.backends.backend import Backend
from imgcls.inference.batch_executor import BatchExecutor
from imgcls.inference.decode_pool import DecodePool, DecodeTask
from imgcls.inference.decoder import Decoded
from imgcls.inference.predictor import POLL_SEC, Predictor
from imgcls.inference.settings import PredictSettings
from imgcls.outputs.record import ImageRecord, KeptRecord

# How long to wait for one more input before a part-full batch is answered: longer than a reader needs to produce the
# next path, shorter than a person or a calling program would notice.
INPUT_PAUSE_SEC = 0.005
# Slow decoding must not hold back answers that are ready: a batch waits for its inputs at most so long.
BATCH_PATIENCE_SEC = 2.0
# Records kept from an earlier run cost no batch a place, but no answer waits for more than so many of them.
MAX_ITEMS = 1024
# Of members of compressed archives that wait to be decoded; one that is larger waits alone.
MAX_HELD_BYTES = 256 * 2**20

Item = DecodeTask | KeptRecord
Record = ImageRecord | KeptRecord


@dataclass(frozen=True, slots=True)
class StreamSettings(PredictSettings):
    """How a stream is worked through; see also `PredictSettings`.

    Attributes:
        should_stop: asked all the time; once it is true, the batches in hand are answered and the stream ends.
    """

    should_stop: Callable[[], bool] = lambda: False


def classify_stream(
    inputs: Iterable[Source | KeptRecord], backend: Backend, settings: StreamSettings
) -> Iterator[Record]:
    """Classify inputs as they come: exactly one record per input, in their order; with `all_frames` one per frame.

    Args:
        inputs: any iterable; it is read ahead by a few batches, in a thread of its own. Records that are kept from
            an earlier run pass through in their place.
        backend: the model.
        settings: see `StreamSettings`.
    Raises:
        Exception: whatever the iterable of inputs or the model raises.
    """
    with Predictor(backend, settings) as predictor:
        pool = predictor.pool()
        executor = BatchExecutor(functools.partial(_answer, predictor), backend, is_reproducible=settings.is_padded)
        reader = _Reader(inputs, pool, depth=2 * settings.batch_size, all_frames=settings.all_frames)
        try:
            for items in _gather(reader, pool, settings):
                for records in executor.add(items) if items else executor.drain():
                    yield from records
            if settings.should_stop():
                executor.drop_waiting()
            for records in executor.drain():
                yield from records
        finally:
            reader.stop()
            executor.close()


def _answer(predictor: Predictor, items: list[Item]) -> list[Record]:
    records = iter(predictor.predict_decoded([_decoded(item) for item in items if isinstance(item, DecodeTask)]))
    return [item if isinstance(item, KeptRecord) else next(records) for item in items]


def _decoded(task: DecodeTask) -> Decoded:
    assert task.decoded is not None
    return task.decoded


class _Reader:
    """Reads the inputs ahead, in a thread of its own, as far as the queue is deep."""

    def __init__(
        self, inputs: Iterable[Source | KeptRecord], pool: DecodePool, *, depth: int, all_frames: bool
    ) -> None:
        self._inputs = inputs
        self._pool = pool
        self._all_frames = all_frames
        self._next_frame: DecodeTask | None = None
        self._holding: deque[tuple[DecodeTask, int]] = deque()
        self._items: queue.Queue[Item | BaseException | None] = queue.Queue(maxsize=depth)
        self._stopped = threading.Event()
        threading.Thread(target=self._read, name="read inputs", daemon=True).start()

    def get(self, timeout_sec: float) -> Item | None:
        """The next item, None after the last.

        Raises:
            queue.Empty: none has come in time.
            Exception: what the iterable of inputs raised.
        """
        if (frame := self._next_frame) is not None:
            self._next_frame = None
            return frame
        item = self._items.get(timeout=timeout_sec)
        if isinstance(item, BaseException):
            raise item
        return item

    def follow(self, task: DecodeTask) -> None:
        """See that the next frame of an input comes next, where each is asked for."""
        self._next_frame = self._pool.submit_next(task)

    def stop(self) -> None:
        """Read no more."""
        self._stopped.set()

    def _read(self) -> None:
        last: BaseException | None = None
        try:
            for entry in self._inputs:
                item = entry if isinstance(entry, KeptRecord) else self._submit(entry)
                if item is None or not self._put(item):
                    return
        except BaseException as exc:
            last = exc
        self._put(last)

    def _submit(self, source: Source) -> DecodeTask | None:
        """Hand an input to the decoding threads, once they have dealt with enough of what is held in memory."""
        num_bytes = source.member.held_bytes if source.member else 0
        while num_bytes and sum(held for _task, held in self._holding) + num_bytes > MAX_HELD_BYTES and self._holding:
            if self._holding[0][0].done.wait(POLL_SEC):
                self._holding.popleft()
            elif self._stopped.is_set():
                return None
        task = self._pool.submit(source, all_frames=self._all_frames)
        if num_bytes:
            self._holding.append((task, num_bytes))
            while self._holding and self._holding[0][0].done.is_set():
                self._holding.popleft()
        return task

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
                reader.follow(item)
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
