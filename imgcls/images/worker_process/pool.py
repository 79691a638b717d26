"""The worker processes of this process: as many as there are cores, started when they are needed, and used again."""

import atexit
import contextlib
import itertools
import os
import threading
from collections.abc import Iterator
from typing import Any

from imgcls.host.resources import available_cores
from imgcls.images.decode_budget import DECODING
from imgcls.images.worker_process.process import IdleEndError, OpenElsewhere, Request, UnavailableError, WorkerProcess

_tokens = itertools.count(1)


class WorkerPool:
    """Hands each request to a worker that has nothing to do; a worker that ends is replaced by the next request."""

    def __init__(self) -> None:
        self._inherited: list[WorkerProcess] = []
        self._idle: list[WorkerProcess] = []
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked process must: the workers answer its parent."""
        # Kept, as whoever lets go of a process that runs is warned.
        self._inherited += self._idle
        self._idle = []
        self._num_busy = 0
        self._changed = threading.Condition()
        self._is_unavailable = False

    def ask(self, request: Request, *, preferred: OpenElsewhere | None = None) -> tuple[dict[str, Any], bytes, Any]:
        """Have an image decoded; see `WorkerProcess.ask`.

        Args:
            request: what to do.
            preferred: the worker that has the file open, where there is one.
        Returns:
            The answer, its bytes, and the worker that gave it.
        Raises:
            ImageError: it can't be decoded.
            UnavailableError: there are no workers here.
        """
        while True:
            with contextlib.suppress(IdleEndError), self._worker(preferred) as worker, DECODING.waiting():
                return *worker.ask(request), worker

    def close(self) -> None:
        """End those that have nothing to do."""
        with self._changed:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    @contextlib.contextmanager
    def _worker(self, preferred: OpenElsewhere | None) -> Iterator[WorkerProcess]:
        if self._is_unavailable:
            raise UnavailableError
        most = available_cores()
        with DECODING.waiting(), self._changed:
            self._changed.wait_for(lambda: self._num_busy < most)
            self._num_busy += 1
            worker = self._pick(preferred)
        try:
            try:
                worker = worker or WorkerProcess()
            except UnavailableError:
                self._is_unavailable = True
                raise
            yield worker
        finally:
            with self._changed:
                self._num_busy -= 1
                if worker is not None and not worker.has_ended:
                    self._idle.append(worker)
                self._changed.notify()

    def _pick(self, preferred: OpenElsewhere | None) -> WorkerProcess | None:
        alive = []
        for worker in self._idle:
            if worker.has_ended:
                worker.end()
            else:
                alive.append(worker)
        self._idle = alive
        if preferred is not None and preferred.worker in alive:
            alive.remove(preferred.worker)
            return preferred.worker
        return alive.pop() if alive else None


def new_token() -> int:
    """A number for a file that is to stay open."""
    return next(_tokens)


WORKERS = WorkerPool()
atexit.register(WORKERS.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WORKERS.forget)
