"""Threads that turn inputs into cropped pixels while the model works.

Threads, not processes: Pillow and NumPy let go of the interpreter while they decode and resize, so threads use all
cores without copying pictures between processes.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from imgcls.core.transforms import Pixels, Transform
from imgcls.data.decoding import decode_image
from imgcls.data.sources import Source
from imgcls.errors import ImageError


@dataclass(frozen=True, slots=True)
class Crop:
    """A decoded input, ready for the model.

    Attributes:
        pixels_HWC: uint8, after the transform's geometry.
        width, height: of the upright picture, in pixels.
    """

    pixels_HWC: Pixels
    width: int
    height: int


@dataclass(eq=False)
class DecodeTask:
    """One input on its way through the pool.

    Attributes:
        source: the input.
        outcome: its pixels or the reason why not, once `done` is set.
        started: time.monotonic() when a thread took it up, else None.
    """

    source: Source
    outcome: Crop | ImageError | None = None
    started: float | None = None
    done: threading.Event = field(default_factory=threading.Event)


class DecodePool:
    """A fixed number of decoding threads; a thread that a picture holds up too long is given up and replaced.

    Args:
        transform: whose geometry the pictures get.
        num_threads: at least 1.
        max_pixels: larger pictures are refused.
        time_limit_sec: how long one picture may take.
        fetch: turns a URL into bytes; raises ImageError.
    """

    def __init__(
        self,
        transform: Transform,
        *,
        num_threads: int,
        max_pixels: int,
        time_limit_sec: float,
        fetch: Callable[[str], bytes],
    ) -> None:
        self._transform = transform
        self._max_pixels = max_pixels
        self._time_limit_sec = time_limit_sec
        self._fetch = fetch
        self._tasks: queue.SimpleQueue[DecodeTask | None] = queue.SimpleQueue()
        self._num_threads = num_threads
        for _ in range(num_threads):
            self._start_thread()

    def submit(self, source: Source) -> DecodeTask:
        """Queue an input; returns at once."""
        task = DecodeTask(source)
        self._tasks.put(task)
        return task

    def result(self, task: DecodeTask) -> Crop | ImageError:
        """Wait for a task, but not for ever."""
        while not task.done.wait(self._patience(task)):
            if self._patience(task) <= 0:
                # The thread can't be stopped, only left behind; another takes its place.
                self._start_thread()
                return ImageError("corrupt_image", f"decoding took more than {self._time_limit_sec:g} s")
        assert task.outcome is not None
        return task.outcome

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        for _ in range(self._num_threads):
            self._tasks.put(None)

    def _patience(self, task: DecodeTask) -> float:
        if task.started is None:
            return self._time_limit_sec
        return task.started + self._time_limit_sec - time.monotonic()

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, name="decode", daemon=True).start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task.started = time.monotonic()
            try:
                task.outcome = self._decode(task.source)
            except ImageError as exc:
                task.outcome = exc
            except Exception as exc:
                # Whatever a plugin of Pillow's makes of a crafted file, the other inputs must not suffer from it.
                task.outcome = ImageError("corrupt_image", f"{type(exc).__name__}: {exc}")
            task.done.set()
            if time.monotonic() - task.started > self._time_limit_sec:
                return

    def _decode(self, source: Source) -> Crop:
        content = self._fetch(source.url) if source.url else source.content
        decoded = decode_image(source.path if content is None else content, max_pixels=self._max_pixels)  # type: ignore[arg-type]
        return Crop(self._transform.crop(decoded.image), decoded.width, decoded.height)
