"""How batches reach a backend: in one size, halved where memory runs out, several at the same time on a CPU.

On a CPU, threads that share one batch wait for each other after every layer, and wait by spinning while a decoding
thread has their core. Batches of their own keep all cores busy: on two of them 1.1 to 1.15 times as many images.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np

from imgcls.images.transform import Floats, Pixels
from imgcls.inference.backends.backend import Backend, DeviceMemoryError
from imgcls.models.onnx.interruptible import RunGroup

# More gain little once no core waits for another any more, and each takes memory.
MAX_AT_ONCE = 4

Batch = TypeVar("Batch")
Answer = TypeVar("Answer")


class BatchExecutor(Generic[Batch, Answer]):
    """Threads that each answer a batch; made, used and closed by one thread, whose cores they share.

    Args:
        answer: what each thread does with a batch.
        backend: the model that it asks.
        is_reproducible: whether every batch gets the same part of the cores, even if it has them to itself: the last
            digits of an answer may depend on how many threads computed it.
    """

    def __init__(self, answer: Callable[[Batch], Answer], backend: Backend, *, is_reproducible: bool) -> None:
        self._answer, self._backend, self._is_reproducible = answer, backend, is_reproducible
        self._lock = threading.Lock()
        self._runs = RunGroup()
        self._num_running = 0
        self._num_threads = backend.num_threads
        self._num_at_once = min(self._num_threads, MAX_AT_ONCE)
        self._executor = ThreadPoolExecutor(self._num_at_once, thread_name_prefix="classify")
        self._pending: deque[Future[Answer]] = deque()

    def add(self, batch: Batch) -> Iterator[Answer]:
        """Take a batch.

        Yields:
            The answers to earlier batches, in their order, as far as they are there; and those that must be before
            another batch may come, as only one waits beside those that are being answered.
        Raises:
            Exception: what was raised for an earlier batch.
        """
        self._pending.append(self._executor.submit(self._run, batch))
        while len(self._pending) > self._num_at_once + 1 or (self._pending and self._pending[0].done()):
            yield self._pending.popleft().result()

    def drain(self) -> Iterator[Answer]:
        """The answers to all batches that are still on their way; see `add`."""
        while self._pending:
            yield self._pending.popleft().result()

    def drop_waiting(self) -> None:
        """Take back the batches for which there was no thread yet."""
        while len(self._pending) > self._num_at_once and self._pending[-1].cancel():
            self._pending.pop()

    def close(self) -> None:
        """Answer nothing more; an ONNX graph that is at work is ended, as nobody waits for it."""
        self._runs.end()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._backend.use_threads(self._num_threads)

    def _run(self, batch: Batch) -> Answer:
        with self._lock:
            self._num_running += 1
            num_sharing = self._num_at_once if self._is_reproducible else self._num_running
        try:
            self._backend.use_threads(max(self._num_threads // num_sharing, 1))
            with self._runs.joined():
                return self._answer(batch)
        finally:
            with self._lock:
                self._num_running -= 1


class Batcher:
    """Classifies any number of images in batches; a batch that memory can't hold is halved and tried again.

    Several threads may ask it at the same time.

    Args:
        backend: the model.
        batch_size: images it sees at once, at most.
        is_padded: whether batches are filled up with black images. The last digits of an answer depend on how many
            images the network sees at once, as kernels differ; with padding they depend on the image alone.
        on_smaller_batch: called with the new size, once a batch of it has fitted.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        batch_size: int,
        is_padded: bool = False,
        on_smaller_batch: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self._backend = backend
        self._batch_size = self._announced = batch_size
        self._lock = threading.Lock()
        self._turns = _Turns()
        self._is_padded = is_padded
        self._on_smaller_batch = on_smaller_batch

    def probabilities(self, images: Sequence[Pixels]) -> Iterator[Floats]:
        """Classify images.

        Args:
            images: uint8, each of shape (crop, crop, 3).
        Yields:
            For each image its softmax outputs, float32, shape (num_classes,).
        Raises:
            DeviceMemoryError: not even one image fits.
        """
        start = 0
        while start < len(images):
            size = self._batch_size
            batch = images[start : start + size]
            tried = size if self._is_padded else len(batch)
            try:
                with self._turns.together():
                    answers_BK = self._backend.probabilities(self._stacked(batch, size))
            except DeviceMemoryError:
                if tried > 1:
                    with self._lock:
                        self._batch_size = min(self._batch_size, tried // 2)
                    continue
                # What other threads have in hand takes memory too.
                with self._turns.alone():
                    answers_BK = self._backend.probabilities(self._stacked(batch, size))
            self._announce()
            yield from answers_BK[: len(batch)]
            start += len(batch)

    def _announce(self) -> None:
        with self._lock:
            size = self._batch_size
            if size == self._announced:
                return
            self._announced = size
        self._on_smaller_batch(size)

    def _stacked(self, images: Sequence[Pixels], size: int) -> Pixels:
        images_BHWC = np.zeros((size if self._is_padded else len(images), *images[0].shape), dtype=np.uint8)
        np.stack(images, out=images_BHWC[: len(images)])
        return images_BHWC


class _Turns:
    """Lets threads work together, or one of them alone once the others are through with what they have in hand."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_together = self._num_alone = 0
        self._one = threading.Lock()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._num_alone == 0)
            self._num_together += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_together -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._num_alone += 1
            self._changed.wait_for(lambda: self._num_together == 0)
        try:
            with self._one:
                yield
        finally:
            with self._changed:
                self._num_alone -= 1
                self._changed.notify_all()
