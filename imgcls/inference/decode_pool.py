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

from imgcls.errors import ImageError
from imgcls.images.decoding import decode_image
from imgcls.images.sources import Source
from imgcls.images.transform import Pixels, Transform
from imgcls.inference.download_pool import DownloadPool, Fetched
from imgcls.outputs.record import FileVersion, file_version
from imgcls.outputs.report.thumbnails import make_thumbnail

# What a download may take beyond its limit before it is given up: looking up a host's name can't be cut short.
FETCH_GRACE_SEC = 5.0


@dataclass(frozen=True, slots=True)
class Crop:
    """A decoded input, ready for the model.

    Attributes:
        pixels_HWC: uint8, after the transform's geometry.
        width, height: of the upright image, in pixels.
        thumbnail: a small JPEG, where the pool makes them.
    """

    pixels_HWC: Pixels
    width: int
    height: int
    thumbnail: bytes | None = None


@dataclass(eq=False)
class DecodeTask:
    """One input on its way through the pool.

    Attributes:
        source: the input.
        outcome: its pixels or the reason why not, once `done` is set.
        version: of the file, taken before it was opened; None for URLs, stdin and files that aren't there.
        content: what its URL gave, until it is decoded.
        started: time.monotonic() when a thread took it up, to fetch it or to decode it; None while it waits for one.
        is_fetching: whether it has not been fetched yet.
        is_given_up: whether its thread was left behind, to end when it is through with it.
    """

    source: Source
    outcome: Crop | ImageError | None = None
    version: FileVersion | None = None
    content: bytes | None = None
    started: float | None = None
    is_fetching: bool = False
    is_given_up: bool = False
    done: threading.Event = field(default_factory=threading.Event)


class DecodePool:
    """A fixed number of decoding threads; a thread that an image holds up too long is given up and replaced.

    Args:
        transform: whose geometry the images get.
        num_threads: at least 1.
        max_pixels: larger images are refused.
        time_limit_sec: how long one image may take.
        fetch_limit_sec: how long one URL may take to fetch.
        fetch: turns a URL into bytes; raises ImageError.
        fast_decode: let the JPEG decoder scale images down to what the transform needs.
        thumbnail_px: side of the thumbnails to make, 0 for none.
    """

    def __init__(
        self,
        transform: Transform,
        *,
        num_threads: int,
        max_pixels: int,
        time_limit_sec: float,
        fetch_limit_sec: float,
        fetch: Callable[[str], bytes],
        fast_decode: bool = False,
        thumbnail_px: int = 0,
    ) -> None:
        self._transform = transform
        self._max_pixels = max_pixels
        self._time_limit_sec = time_limit_sec
        self._fetch_limit_sec = fetch_limit_sec
        self._downloads = DownloadPool(fetch)
        self._smallest_px = transform.smallest_px if fast_decode else 0
        self._thumbnail_px = thumbnail_px
        self._tasks: queue.SimpleQueue[DecodeTask | None] = queue.SimpleQueue()
        self._num_threads = num_threads
        self._is_closed = False
        # Held while a task is finished or given up, so that it can't be both.
        self._lock = threading.Lock()
        for _ in range(num_threads):
            self._start_thread()

    def submit(self, source: Source) -> DecodeTask:
        """Queue an input; returns at once."""
        task = DecodeTask(source, is_fetching=bool(source.url))
        if task.is_fetching:
            self._downloads.submit(source.url, partial(_start, task), partial(self._end_download, task), task.done)
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
                task.outcome = ImageError("download_failed", f"not done after {self._fetch_limit_sec:g} s")
            else:
                task.outcome = ImageError("corrupt_image", f"decoding took more than {self._time_limit_sec:g} s")
                self._start_thread()
            task.done.set()
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
                task.outcome = fetched
                task.done.set()
                return
            task.content = fetched
        self._tasks.put(task)

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, name="decode", daemon=True).start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None and not self._is_closed:
            task.started = time.monotonic()
            version = file_version(task.source.path)
            outcome: Crop | ImageError
            try:
                outcome = self._decode(task)
            except ImageError as exc:
                outcome = exc
            except MemoryError:
                outcome = ImageError("too_large", "not enough memory to decode it")
            except Exception as exc:
                # Whatever a plugin of Pillow's makes of a crafted file, the other inputs must not suffer from it.
                outcome = ImageError("corrupt_image", f"{type(exc).__name__}: {exc}")
            with self._lock:
                if task.is_given_up:
                    return
                task.version, task.outcome, task.content = version, outcome, None
                task.done.set()
            # An idle thread must not keep the last image in memory.
            del task, outcome

    def _decode(self, task: DecodeTask) -> Crop:
        source = task.source
        if source.failure is not None:
            raise source.failure
        content = task.content if task.content is not None else source.content
        if content is None:
            assert source.path is not None
            decoded = decode_image(source.path, max_pixels=self._max_pixels, smallest_px=self._smallest_px)
        else:
            decoded = decode_image(content, max_pixels=self._max_pixels, smallest_px=self._smallest_px)
        thumbnail = make_thumbnail(decoded.image, self._thumbnail_px) if self._thumbnail_px else None
        return Crop(self._transform.crop(decoded.image), decoded.width, decoded.height, thumbnail)


def _start(task: DecodeTask) -> None:
    task.started = time.monotonic()
