"""A backend fed with as much as fits: batches of one size, halved when memory runs out."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from imgcls.images.transform import Floats, Pixels
from imgcls.inference.backends.backend import Backend, DeviceMemoryError


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
