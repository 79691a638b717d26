"""How long one image may take to decode. A thread can't be stopped, only left behind and replaced."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from imgcls.errors import ImageError
from imgcls.images.decode_budget import DECODING

# What `imgcls predict` calls --image-timeout; data sets have the same.
IMAGE_LIMIT_SEC = 120.0
# What counts against an image's limit is its own computing, so that neighbours that take all cores don't make it late.
# One that waits instead, for a disk that doesn't answer, is given up after so many times its limit.
WAITING_TIMES = 4
# Asking what a thread has computed costs as much as a tenth of a small image: a reading serves images that begin soon
# after it, which then count for so much more than they took, at most.
READING_LASTS_SEC = 0.02

Item = TypeVar("Item")
Made = TypeVar("Made")


class _Reading(threading.local):
    """What a thread had computed when it was last asked.

    Attributes:
        clock: of the thread; None where the system doesn't count a thread's computing.
        computed_sec: by that clock.
        at: when, as time.monotonic says.
    """

    def __init__(self) -> None:
        self.at = float("-inf")
        self.computed_sec = 0.0
        try:
            self.clock: int | None = time.pthread_getcpuclockid(threading.get_ident())
        except (AttributeError, OSError):
            self.clock = None

    def refresh(self, now: float) -> None:
        """Ask again, unless that was just done."""
        if self.clock is None or now - self.at <= READING_LASTS_SEC:
            return
        try:
            self.computed_sec, self.at = time.clock_gettime(self.clock), now
        except OSError:
            # In a forked process the thread has another clock.
            self.clock = None


_reading = _Reading()


class DecodeClock:
    """What the thread that makes it spends from then on; read by other threads."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self._began = time.monotonic()
        self._waited_sec = DECODING.waited_sec(self.thread)
        _reading.refresh(self._began)
        self._clock, self._computed_sec = _reading.clock, _reading.computed_sec

    def patience_sec(self, limit_sec: float) -> float:
        """How long to go on waiting for an image before asking again; 0 once it has had its time.

        Args:
            limit_sec: that it may take. Waiting for other images' memory doesn't count.
        """
        elapsed_sec = time.monotonic() - self._began
        if elapsed_sec < limit_sec:
            # It can't have computed for longer than since it began.
            return limit_sec - elapsed_sec
        elapsed_sec -= DECODING.waited_sec(self.thread) - self._waited_sec
        if self._clock is None:
            return max(limit_sec - elapsed_sec, 0.0)
        try:
            computed_sec = time.clock_gettime(self._clock) - self._computed_sec
        except OSError:
            # The thread has ended.
            computed_sec = 0.0
        return max(min(limit_sec - computed_sec, limit_sec * WAITING_TIMES - elapsed_sec), 0.0)


def map_within(make: Callable[[Item], Made], items: Sequence[Item], limit_sec: float) -> list[Made | ImageError]:
    """What a function makes of each item, in a thread of its own; `corrupt_image` for one that takes too long.

    Args:
        make: decodes an image.
        items: a batch of them, so that threads cost little beside decoding.
        limit_sec: that one may take.
    Raises:
        Exception: what `make` raises.
    """
    results: list[Made | ImageError] = []
    while len(results) < len(items):
        worker = _Worker(make, items[len(results) :])
        results += worker.results_within(limit_sec)
    return results


class _Worker(Generic[Item, Made]):
    def __init__(self, make: Callable[[Item], Made], items: Sequence[Item]) -> None:
        self._make, self._items = make, items
        self._made: list[Made | ImageError] = []
        self._failure: BaseException | None = None
        self._clock: DecodeClock | None = None
        self._is_given_up = False
        self._lock = threading.Lock()
        self._is_through = threading.Event()
        threading.Thread(target=self._work, name="decode", daemon=True).start()

    def results_within(self, limit_sec: float) -> list[Made | ImageError]:
        """Results up to the end, or to the first item that takes too long, which is the last of them."""
        patience_sec = limit_sec
        while not self._is_through.wait(max(patience_sec, 0.001)):
            with self._lock:
                if self._clock is None or self._is_through.is_set():
                    continue
                patience_sec = self._clock.patience_sec(limit_sec)
                if patience_sec <= 0:
                    self._is_given_up = True
                    DECODING.give_up(self._clock.thread)
                    return [*self._made, ImageError("corrupt_image", f"decoding took more than {limit_sec:g} s")]
        if self._failure is not None:
            raise self._failure
        return self._made

    def _work(self) -> None:
        try:
            for item in self._items:
                with self._lock:
                    self._clock = DecodeClock()
                made = self._make(item)
                with self._lock:
                    if self._is_given_up:
                        return
                    self._made.append(made)
        except BaseException as exc:
            self._failure = exc
        self._is_through.set()
