"""Threads that turn inputs into cropped pixels while the model works.

Threads, not processes: Pillow and NumPy let go of the interpreter while they decode and resize, so threads use all
cores without copying images between processes.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from imgcls.errors import ImageError, ImageErrorKind
from imgcls.images.sources import Source
from imgcls.inference.decoder import Decoded, Decoder, OpenImage
from imgcls.inference.download_pool import DownloadPool, Fetched
from imgcls.outputs.record import RecordError

# What a download may take beyond its limit before it is given up: looking up a host's name can't be cut short.
FETCH_GRACE_SEC = 5.0


@dataclass(eq=False)
class DecodeTask:
    """One input on its way through the pool.

    Attributes:
        given: the input.
        decoded: its pixels or the reason why not, once `done` is set.
        content: what its URL gave, until it is decoded.
        started: time.monotonic() when a thread took it up, to fetch it or to decode it; None while it waits for one.
        is_fetching: whether it has not been fetched yet.
        is_given_up: whether its thread was left behind, to end when it is through with it.
    """

    given: Source | OpenImage
    decoded: Decoded | None = None
    content: bytes | None = None
    started: float | None = None
    is_fetching: bool = False
    is_given_up: bool = False
    done: threading.Event = field(default_factory=threading.Event)


class DecodePool:
    """A fixed number of decoding threads; one that takes too long for an image is left behind and replaced.

    Args:
        decoder: what each thread does with an input.
        num_threads: at least 1.
        time_limit_sec: how long one image may take.
        fetch_limit_sec: how long one URL may take to fetch.
        fetch: turns a URL into bytes; raises ImageError.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        num_threads: int,
        time_limit_sec: float,
        fetch_limit_sec: float,
        fetch: Callable[[str], bytes],
    ) -> None:
        self._decoder = decoder
        self._time_limit_sec = time_limit_sec
        self._fetch_limit_sec = fetch_limit_sec
        self._downloads = DownloadPool(fetch)
        self._tasks: queue.SimpleQueue[DecodeTask | None] = queue.SimpleQueue()
        self._num_threads = num_threads
        self._is_closed = False
        # Held while a task is finished or given up, so that it can't be both.
        self._lock = threading.Lock()
        for _ in range(num_threads):
            self._start_thread()

    def submit(self, given: Source | OpenImage) -> DecodeTask:
        """Queue an input; returns at once."""
        task = DecodeTask(given)
        if isinstance(given, Source) and given.url:
            task.is_fetching = True
            self._downloads.submit(given.url, partial(_start, task), partial(self._end_download, task), task.done)
        else:
            self._tasks.put(task)
        return task

    def wait(self, task: DecodeTask, timeout_sec: float) -> bool:
        """Wait for a task, and give it up once it has had its time.

        Args:
            task: of this pool.
            timeout_sec: the longest to wait.
        Returns:
            Whether it is through, one way or the other.
        """
        if task.done.wait(min(timeout_sec, self._patience_sec(task))):
            return True
        with self._lock:
            if self._patience_sec(task) > 0 or task.done.is_set():
                return task.done.is_set()
            # The thread can't be stopped, only left behind; another takes its place.
            task.is_given_up = True
            if task.is_fetching:
                _fail(task, "download_failed", f"not done after {self._fetch_limit_sec:g} s")
            else:
                _fail(task, "corrupt_image", f"decoding took more than {self._time_limit_sec:g} s")
                self._start_thread()
        return True

    def close(self) -> None:
        """Let the threads end after the image that each has in hand; what still waits is not decoded."""
        self._is_closed = True
        self._downloads.close()
        for _ in range(self._num_threads):
            self._tasks.put(None)

    def _patience_sec(self, task: DecodeTask) -> float:
        # A download ends by itself in time; only one that doesn't is ended from here.
        limit_sec = self._fetch_limit_sec + FETCH_GRACE_SEC if task.is_fetching else self._time_limit_sec
        started = task.started
        return limit_sec if started is None else max(started + limit_sec - time.monotonic(), 0.0)

    def _end_download(self, task: DecodeTask, fetched: Fetched) -> None:
        with self._lock:
            if task.is_given_up:
                return
            task.started, task.is_fetching = None, False
            if isinstance(fetched, ImageError):
                _fail(task, fetched.kind, fetched.message)
                return
            task.content = fetched
        self._tasks.put(task)

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, name="decode", daemon=True).start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None and not self._is_closed:
            task.started = time.monotonic()
            decoded = self._decoder.decode(task.given, content=task.content)
            with self._lock:
                if task.is_given_up:
                    return
                task.decoded, task.content = decoded, None
                task.done.set()
            # An idle thread must not keep the last image in memory.
            del task, decoded


def _start(task: DecodeTask) -> None:
    task.started = time.monotonic()


def _fail(task: DecodeTask, kind: ImageErrorKind, message: str) -> None:
    task.decoded = Decoded(task.given.name, RecordError(kind, message))
    task.done.set()
