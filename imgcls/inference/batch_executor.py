"""Several batches on their way through the model at the same time, their answers in order.

On a CPU, threads that share one batch wait for each other after every layer, and wait by spinning while a decoding
thread has their core. Batches of their own keep all cores busy: on two of them 1.1 to 1.15 times as many images.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from imgcls.images.transform import Floats, Pixels
from imgcls.inference.backends.backend import Backend
from imgcls.inference.batching import Batcher

# More gain little once no core waits for another any more, and each takes memory.
MAX_AT_ONCE = 4

What = TypeVar("What")


class BatchExecutor(Generic[What]):
    """Threads that each answer a batch; made, used and closed by one thread, whose cores they share.

    Args:
        backend: the model.
        batches: feeds it.
        is_reproducible: whether every batch gets the same part of the cores, even if it has them to itself: the last
            digits
            of an answer may depend on how many threads computed it.
    """

    def __init__(self, backend: Backend, batches: Batcher, *, is_reproducible: bool) -> None:
        self._backend, self._batches, self._is_reproducible = backend, batches, is_reproducible
        self._lock = threading.Lock()
        self._num_running = 0
        self._num_threads = backend.num_threads
        self._num_at_once = min(self._num_threads, MAX_AT_ONCE)
        self._executor = ThreadPoolExecutor(self._num_at_once, thread_name_prefix="classify")
        self._pending: deque[tuple[What, Future[list[Floats]]]] = deque()

    def add(self, what: What, images: Sequence[Pixels]) -> Iterator[tuple[What, list[Floats]]]:
        """Take a batch.

        Args:
            what: comes back with the answers.
            images: uint8, each of shape (crop, crop, 3).
        Yields:
            Earlier batches that are answered; and those that must be before another may come, as only one waits beside
            those that are being answered.
        Raises:
            Exception: what the model raised for an earlier batch.
        """
        self._pending.append((what, self._executor.submit(self._answer, images)))
        while len(self._pending) > self._num_at_once + 1 or (self._pending and self._pending[0][1].done()):
            yield self._next()

    def drain(self) -> Iterator[tuple[What, list[Floats]]]:
        """All batches that are still on their way, once they are answered; see `add`."""
        while self._pending:
            yield self._next()

    def drop_waiting(self) -> None:
        """Take back the batches for which there was no thread yet."""
        while len(self._pending) > self._num_at_once and self._pending[-1][1].cancel():
            self._pending.pop()

    def close(self) -> None:
        """Answer nothing more than what is being answered."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._backend.use_threads(self._num_threads)

    def _next(self) -> tuple[What, list[Floats]]:
        what, answers = self._pending.popleft()
        return what, answers.result()

    def _answer(self, images: Sequence[Pixels]) -> list[Floats]:
        with self._lock:
            self._num_running += 1
            num_sharing = self._num_at_once if self._is_reproducible else self._num_running
        try:
            self._backend.use_threads(max(self._num_threads // num_sharing, 1))
            return list(self._batches.probabilities(images))
        finally:
            with self._lock:
                self._num_running -= 1
