"""How many bytes of pixels are decoded at the same time: large images wait for each other.

An image's size is known from its header, before its pixels take any memory.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image

from imgcls.errors import ImageError
from imgcls.host.resources import available_bytes

# Of the memory that is free when the first image is decoded.
MEMORY_SHARE = 0.5
LEAST_BYTES = 256 * 2**20
# Bytes a pixel: as decoded, as RGB (which Pillow keeps in four), and what a decoder holds besides.
BYTES_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2, "LA": 4, "PA": 4}
RGB_BYTES = 4
# Held several times while they are decoded: a decoder's canvas, a TIFF's strips, a frame beside the canvas; libwebp has
# two canvases (measured: 16 bytes a pixel in all).
COPIES = {"WEBP": 3, "AVIF": 2, "HEIF": 2, "JXL": 2, "JPEG2000": 2, "TIFF": 2, "GIF": 2}


@dataclass(eq=False)
class _Reservation:
    """What one image needs: waiting, held, or given up."""

    num_bytes: int
    thread: int
    is_held: bool = False
    is_given_up: bool = False


class ByteBudget:
    """Bytes that several threads share; who finds too few waits, in turn; one that is too large for all goes alone.

    Args:
        total: bytes; None for half of what is free when it is first asked.
    """

    def __init__(self, total: int | None = None) -> None:
        self._total = total
        self.reset()

    def reset(self) -> None:
        """Forget all threads, as a forked process must: it has none of them."""
        self._used = 0
        self._waiting: deque[_Reservation] = deque()
        self._reservations: dict[int, _Reservation] = {}
        self._waited_sec: dict[int, float] = {}
        self._waits_since: dict[int, float] = {}
        self._changed = threading.Condition()
        self._ask: Callable[[int], contextlib.AbstractContextManager[None]] | None = None

    @contextlib.contextmanager
    def asking(self, ask: Callable[[int], contextlib.AbstractContextManager[None]]) -> Iterator[None]:
        """While the block runs, whoever reserves bytes gets them from somebody else, as a worker from its parent.

        Args:
            ask: takes their number and gives what holds them.
        """
        self._ask = ask
        try:
            yield
        finally:
            self._ask = None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """The time that the block takes this thread is not its own: it waits for others."""
        thread = threading.get_ident()
        if thread in self._waits_since:
            yield
            return
        began = self._waits_since[thread] = time.monotonic()
        try:
            yield
        finally:
            # In this order nobody who asks meanwhile sees less waiting than there was.
            self._waited_sec[thread] = self._waited_sec.get(thread, 0.0) + time.monotonic() - began
            del self._waits_since[thread]

    def reserve(self, num_bytes: int) -> contextlib.AbstractContextManager[None]:
        """Hold so many bytes while the block runs; one at a time for each thread.

        Raises:
            ImageError: on entering, the thread was given up while it waited.
        """
        return _Holding(self, num_bytes) if self._ask is None else self._ask(num_bytes)

    def _take(self, num_bytes: int) -> _Reservation:
        with self._changed:
            if self._total is None:
                self._total = max(LEAST_BYTES, int(available_bytes() * MEMORY_SHARE))
            reservation = _Reservation(min(num_bytes, self._total), threading.get_ident())
            self._reservations[reservation.thread] = reservation
            self._waiting.append(reservation)
            self._wait_in_turn(reservation, self._total)
            if reservation.is_given_up:
                raise ImageError("too_large", "given up while other images took the memory")
            self._waiting.popleft()
            reservation.is_held = True
            self._used += reservation.num_bytes
            self._tell_waiting()
        return reservation

    def _give_back(self, reservation: _Reservation) -> None:
        with self._changed:
            self._let_go(reservation)

    def give_up(self, thread: int) -> None:
        """Count no more on a thread that was left behind, so that what it holds or waits for holds up nobody.

        Args:
            thread: its `threading.get_ident()`.
        """
        with self._changed:
            reservation = self._reservations.get(thread)
            if reservation is None:
                return
            reservation.is_given_up = True
            if reservation in self._waiting:
                self._waiting.remove(reservation)
            self._let_go(reservation)
            # It may be waiting itself.
            self._changed.notify_all()

    def waited_sec(self, thread: int) -> float:
        """How long a thread has waited for bytes so far, in all."""
        if thread not in self._waits_since and thread not in self._waited_sec:
            return 0.0
        with self._changed:
            since = self._waits_since.get(thread)
            now = 0.0 if since is None else time.monotonic() - since
            return self._waited_sec.get(thread, 0.0) + now

    def _wait_in_turn(self, reservation: _Reservation, total: int) -> None:
        def may_begin() -> bool:
            # In turn, so that a large image is not passed by small ones for ever.
            is_next = bool(self._waiting) and self._waiting[0] is reservation
            return reservation.is_given_up or (is_next and self._used + reservation.num_bytes <= total)

        if may_begin():
            return
        with self.waiting():
            self._changed.wait_for(may_begin)

    def _let_go(self, reservation: _Reservation) -> None:
        if reservation.is_held:
            reservation.is_held = False
            self._used -= reservation.num_bytes
        if self._reservations.get(reservation.thread) is reservation:
            del self._reservations[reservation.thread]
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        if self._waiting:
            self._changed.notify_all()


class _Holding(contextlib.AbstractContextManager[None]):
    """A generator would do, for a few microseconds more of each image."""

    __slots__ = ("_budget", "_num_bytes", "_reservation")

    def __init__(self, budget: ByteBudget, num_bytes: int) -> None:
        self._budget, self._num_bytes = budget, num_bytes

    def __enter__(self) -> None:
        self._reservation = self._budget._take(self._num_bytes)

    def __exit__(self, *_exc: object) -> None:
        self._budget._give_back(self._reservation)


# Of the process, as its memory is.
DECODING = ByteBudget()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=DECODING.reset)


def decoding_bytes(image: Image.Image) -> int:
    """About how many bytes it takes to decode an image and make it RGB.

    Args:
        image: opened, its pixels not yet read.
    """
    decoded = BYTES_OF_MODE.get(image.mode, 4) * COPIES.get(image.format or "", 1)
    return image.width * image.height * (decoded + RGB_BYTES)
