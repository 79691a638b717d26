"""Threads that turn inputs into cropped pixels while the model works.

Threads, not processes: Pillow and NumPy let go of the interpreter while they decode and resize, so threads use all
cores without copying images between processes.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from imgcls.errors import ImageError, ImageErrorKind
from imgcls.images.decode_budget import DECODING
from imgcls.images.frames import MOST_FRAMES, FrameCursor
from imgcls.images.inputs.source import Source
from imgcls.images.time_limit import DecodeClock
from imgcls.inference.decoder import Decoded, Decoder
from imgcls.inference.download_pool import DownloadPool, Fetched
from imgcls.inference.open_inputs import OpenImage
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
        clock: of the thread that decodes it, once there is one.
        is_fetching: whether it has not been fetched yet.
        cursor: which of its frames this is, where each is asked for.
        is_given_up: whether its thread was left behind, to end when it is through with it.
        on_done: called once `done` is set, by whichever thread that does; must be quick.
    """

    given: Source | OpenImage
    decoded: Decoded | None = None
    content: bytes | None = None
    started: float | None = None
    clock: DecodeClock | None = None
    is_fetching: bool = False
    cursor: FrameCursor | None = None
    is_given_up: bool = False
    on_done: "Callable[[DecodeTask], None] | None" = None
    done: threading.Event = field(default_factory=threading.Event)

    def tell(self) -> None:
        """Call `on_done`, where somebody waits so."""
        if self.on_done is not None:
            self.on_done(self)


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

    def submit(
        self,
        given: Source | OpenImage,
        *,
        all_frames: bool = False,
        on_done: Callable[[DecodeTask], None] | None = None,
    ) -> DecodeTask:
        """Queue an input; returns at once.

        Args:
            given: the input.
            all_frames: whether `submit_next` will be asked for its further frames or pages.
            on_done: called when it is through, by a thread of the pool or by one that calls `wait`.
        """
        task = DecodeTask(given, on_done=on_done)
        if all_frames and isinstance(given, Source):
            task.cursor = FrameCursor(given.first_frame)
        if isinstance(given, Source) and given.url:
            task.is_fetching = True
            self._downloads.submit(given.url, partial(_start, task), partial(self._end_download, task), task.done)
        else:
            self._tasks.put(task)
        return task

    def submit_next(self, task: DecodeTask) -> DecodeTask | None:
        """Queue the next frame of an input whose last one is through; None after the last, or where there is one only.

        One after the other, as frames build upon each other: read each from the beginning, a long film would take
        hours.
        """
        cursor, decoded = task.cursor, task.decoded
        if cursor is None or decoded is None or task.is_given_up:
            return None
        following = cursor.frame + 1
        is_readable = cursor.has_pages or not isinstance(decoded.outcome, RecordError)
        if following >= min(cursor.num_frames, MOST_FRAMES) or not is_readable:
            cursor.close()
            return None
        more = DecodeTask(task.given, cursor=replace(cursor, frame=following))
        self._tasks.put(more)
        return more

    def wait(self, task: DecodeTask, timeout_sec: float) -> bool:
        """Wait for a task, and give it up once it has had its time.

        Args:
            task: of this pool.
            timeout_sec: the longest to wait.
        Returns:
            Whether it is through, one way or the other.
        """
        deadline = time.monotonic() + timeout_sec
        while (patience_sec := self._patience_sec(task)) > 0:
            remaining_sec = deadline - time.monotonic()
            if task.done.wait(max(min(patience_sec, remaining_sec), 0)):
                return True
            if remaining_sec <= patience_sec:
                return False
        with self._lock:
            if task.done.is_set():
                return True
            # The thread can't be stopped, only left behind; another takes its place.
            task.is_given_up = True
            if task.is_fetching:
                _fail(task, "download_failed", f"not done after {self._fetch_limit_sec:g} s")
            else:
                _fail(task, "corrupt_image", f"decoding took more than {self._time_limit_sec:g} s")
                if task.clock is not None:
                    DECODING.give_up(task.clock.thread)
                self._start_thread()
        task.tell()
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
        started, clock = task.started, task.clock
        if started is None:
            return limit_sec
        if clock is not None:
            return clock.patience_sec(limit_sec)
        return max(limit_sec - (time.monotonic() - started), 0.0)

    def _end_download(self, task: DecodeTask, fetched: Fetched) -> None:
        with self._lock:
            if task.is_given_up:
                return
            task.started, task.is_fetching = None, False
            if isinstance(fetched, ImageError):
                _fail(task, fetched.kind, fetched.message)
            else:
                task.content = fetched
        if task.decoded is None:
            self._tasks.put(task)
        else:
            task.tell()

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, name="decode", daemon=True).start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None and not self._is_closed:
            task.clock = DecodeClock()
            task.started = time.monotonic()
            decoded = self._decoder.decode(task.given, content=task.content, cursor=task.cursor)
            with self._lock:
                if task.is_given_up:
                    return
                task.decoded, task.content = decoded, None
                task.done.set()
            task.tell()
            # An idle thread must not keep the last image in memory.
            del task, decoded


def _start(task: DecodeTask) -> None:
    task.started = time.monotonic()


def _fail(task: DecodeTask, kind: ImageErrorKind, message: str) -> None:
    frame, num_frames = (0, 1) if task.cursor is None else (task.cursor.frame, task.cursor.num_frames)
    task.decoded = Decoded(task.given.name, RecordError(kind, message), None, frame, num_frames)
    task.done.set()
