"""The queue of one model: images are decoded as they come, and classified in the batches that have formed meanwhile.

    event loop         `submit`: admits images, or refuses them at once where too many wait
    decode threads     an image -> its crop (the `DecodePool` of the `Predictor`), in the order of admission
    classify threads   whatever is decoded -> records, as soon as one of them is free

A batch is what has been decoded while the one before was being classified, so that a lone image never waits and a busy
server fills its batches. Each job ends exactly once: with a record, or with the reason why there is none.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

from imgcls.host.resources import available_cores
from imgcls.inference.batch_executor import MAX_AT_ONCE
from imgcls.inference.decode_pool import DecodeTask
from imgcls.inference.predictor import Predictor
from imgcls.serving.config import Batching
from imgcls.serving.engine.batch import classify
from imgcls.serving.engine.job import Job, RefusedError
from imgcls.serving.engine.pace import Pace

# How often images that take too long to decode are looked for.
WATCH_SEC = 0.05


class Engine:
    """Classifies images for many clients at once.

    Args:
        predictor: the model.
        batching: how images wait.
        best_batch: images per batch from which on larger ones are no faster per image.
    """

    def __init__(self, predictor: Predictor, batching: Batching, *, best_batch: int) -> None:
        self.predictor = predictor
        self._batching = batching
        self._best_batch = max(min(best_batch, batching.max_batch), 1)
        self._pool = predictor.pool()
        self._max_decoding = (predictor.settings.num_threads or available_cores()) + 1
        # Reentrant, as an image can be through before `submit` has returned.
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._to_watch = threading.Condition(lock)
        self._is_watching = False
        self._waiting: deque[Job] = deque()
        self._decoding: dict[DecodeTask, Job] = {}
        self._ready: deque[Job] = deque()
        self._num_open = 0
        self._num_running = 0
        self._is_gathering = False
        self._is_closing = False
        self._pace = Pace()
        backend = predictor.backend
        self._num_threads = backend.num_threads
        at_once = min(max(backend.num_threads, 1), MAX_AT_ONCE)
        self._threads = [
            threading.Thread(target=self._classify_all, name="classify", daemon=True) for _ in range(at_once)
        ]
        self._threads.append(threading.Thread(target=self._watch, name="watch decoding", daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def num_open(self) -> int:
        """Images that are admitted and not yet answered."""
        return self._num_open

    def refusal(self, num_images: int = 1) -> RefusedError | None:
        """Why so many images more would be refused now; None where they would be taken."""
        wait_sec = self._pace.expected_sec(self._num_open)
        if self._is_closing:
            return RefusedError("the server is stopping")
        if self._num_open + num_images > self._batching.queue:
            return RefusedError(
                f"{self._num_open} images wait already (--queue {self._batching.queue})", retry_after_sec=wait_sec
            )
        # Better now than when its time is up.
        if self._num_open and wait_sec > self._batching.timeout_sec:
            reason = f"an answer would take longer than {self._batching.timeout_sec:g} s"
            return RefusedError(reason, retry_after_sec=wait_sec - self._batching.timeout_sec)
        return None

    def submit(self, jobs: Sequence[Job]) -> None:
        """Admit images, all of them or none; returns at once.

        Raises:
            RefusedError: too many wait already.
        """
        with self._changed:
            refusal = self.refusal(len(jobs))
            if refusal is not None:
                raise refusal
            self._num_open += len(jobs)
            self._waiting.extend(jobs)
            self._feed()
            if not self._is_watching:
                self._to_watch.notify()

    def cancel(self, jobs: Iterable[Job]) -> None:
        """Forget images whose client has gone; those that wait give their place free at once."""
        with self._changed:
            for job in jobs:
                if job.done:
                    continue
                job.is_cancelled = True
                for places in (self._waiting, self._ready):
                    with contextlib.suppress(ValueError):
                        places.remove(job)
                        self._end(job)
            self._changed.notify_all()

    def close(self, timeout_sec: float | None = None) -> bool:
        """Take nothing more, finish what is in hand, and let the threads end.

        Returns:
            Whether everything was finished in time.
        """
        with self._changed:
            self._is_closing = True
            is_done = self._changed.wait_for(lambda: self._num_open == 0, timeout_sec)
            self._changed.notify_all()
            self._to_watch.notify()
        if is_done:
            for thread in self._threads:
                thread.join()
        self.predictor.close()
        return is_done

    def _feed(self) -> None:
        """Give the decode threads what they can take, and one image more so that none of them pauses."""
        now = time.monotonic()
        while self._waiting and len(self._decoding) < self._max_decoding:
            job = self._waiting.popleft()
            if not job.is_wanted(now):
                self._end(job)
                continue
            job.decoding = now
            task = self._pool.submit(job.source, on_done=partial(self._on_decoded))
            self._decoding[task] = job

    def _on_decoded(self, task: DecodeTask) -> None:
        with self._changed:
            job = self._decoding.pop(task)
            self._feed()
            job.decoded, job.decoded_at = task.decoded, time.monotonic()
            if job.is_wanted(job.decoded_at):
                self._ready.append(job)
            else:
                self._end(job)
            self._changed.notify_all()

    def _watch(self) -> None:
        """Give up images that take longer to decode than they may."""
        while True:
            with self._to_watch:
                self._is_watching = False
                self._to_watch.wait_for(lambda: self._decoding or self._is_over())
                if self._is_over():
                    return
                self._is_watching = True
                tasks = list(self._decoding)
            for task in tasks:
                self._pool.wait(task, 0)
            time.sleep(WATCH_SEC)

    def _is_over(self) -> bool:
        return self._is_closing and self._num_open == 0

    def _classify_all(self) -> None:
        while batch := self._gather():
            classify(self.predictor, batch)
            with self._changed:
                self._num_running -= 1
                for job in batch:
                    self._end(job)
                self._changed.notify_all()

    def _gather(self) -> list[Job]:
        """The next batch; empty once there will be none."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: (self._ready and not self._is_gathering) or self._is_over())
                if not self._ready:
                    return []
                self._is_gathering = True
                # Only for images that are on their way; what is there already goes at once where it fills a batch.
                self._changed.wait_for(
                    lambda: len(self._ready) >= self._best_batch or not self._decoding, self._patience_sec()
                )
                self._is_gathering = False
                now = time.monotonic()
                batch: list[Job] = []
                while self._ready and len(batch) < self._best_batch:
                    job = self._ready.popleft()
                    if job.is_wanted(now):
                        job.classified = now
                        batch.append(job)
                    else:
                        self._end(job)
                self._changed.notify_all()
                if batch:
                    self._num_running += 1
                    self._share_threads()
                    return batch

    def _patience_sec(self) -> float:
        if not self._ready:
            return 0.0
        return max(self._ready[0].decoded_at + self._batching.max_wait_sec - time.monotonic(), 0.0)

    def _share_threads(self) -> None:
        # A batch that is alone has all cores; several share them.
        if self._num_threads > 1:
            self.predictor.backend.use_threads(max(self._num_threads // self._num_running, 1))

    def _end(self, job: Job) -> None:
        """Called once for each job that was admitted, with the lock held."""
        now = time.monotonic()
        if job.record is None and job.failure is None:
            job.failure = RefusedError(
                f"not answered within {self._batching.timeout_sec:g} s",
                retry_after_sec=self._pace.expected_sec(self._num_open),
            )
        job.done = now
        self._num_open -= 1
        self._pace.count(now, is_busy=self._num_open > 0)
        job.on_done(job)
