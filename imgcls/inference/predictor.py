"""The one way from images to records: decode, classify in batches, name the most probable classes.

The command's pipeline, the Python API, a server and a cluster's workers all answer through `Predictor`:

    Decoder          an input -> a crop, or the reason why not (in the threads of a `DecodePool`)
    Batcher          crops -> probabilities, in batches that the memory holds
    RecordBuilder    probabilities, or a reason -> a record
    Predictor        all of it, in the order of the inputs

Shapes: C channels (3), H height, W width, K classes.
"""

import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from imgcls.errors import ImageError
from imgcls.host.resources import available_cores
from imgcls.images.transform import Transform
from imgcls.inference.backends.backend import Backend
from imgcls.inference.batch_executor import Batcher
from imgcls.inference.decode_pool import DecodePool, DecodeTask
from imgcls.inference.decoder import Crop, Decoded, Decoder
from imgcls.inference.open_inputs import open_input
from imgcls.inference.record_builder import RecordBuilder
from imgcls.inference.settings import PredictSettings, check_count
from imgcls.outputs.record import ImageRecord

if TYPE_CHECKING:
    from imgcls.inference.open_inputs import ImageInput

# How often a wait for one image looks whether its time is up.
POLL_SEC = 0.1


class Predictor:
    """Classifies images with one model. Several threads may use it at the same time.

    Args:
        backend: the model.
        settings: what shapes the answers.
    """

    def __init__(self, backend: Backend, settings: PredictSettings | None = None) -> None:
        self.backend = backend
        self.settings = settings = settings or PredictSettings()
        self.decoder = Decoder(
            _adjusted(backend.transform, settings),
            max_pixels=settings.max_pixels,
            fast_decode=settings.fast_decode,
            thumbnail_px=settings.thumbnail_px,
            limit_sec=settings.decode_limit_sec,
        )
        self._batches = Batcher(
            backend,
            batch_size=settings.batch_size,
            is_padded=settings.is_padded,
            on_smaller_batch=settings.on_smaller_batch,
        )
        # Whatever the transform does, each of its crops has the shape of the first.
        self._crop_shape = backend.transform.crop(Image.new("RGB", (1, 1))).shape
        self._records = RecordBuilder(backend, settings)
        self._lock = threading.Lock()
        self._pool: DecodePool | None = None
        self._pool_pid = 0

    def predict_batch(self, inputs: "Sequence[ImageInput]", *, top_k: int | None = None) -> list[ImageRecord]:
        """Classify images: exactly one record per input, in their order; an input that fails is a record that says why.

        Args:
            inputs: any number of paths, encoded images' bytes, Pillow images, arrays or `Source` objects, mixed.
            top_k: how many classes a record names; None takes that of the settings.
        Raises:
            TypeError: an input is nothing of these kinds; nothing has been classified then.
            UsageError: top_k is out of range.
            DeviceMemoryError: the device's memory doesn't hold even one image.
            ModelError: an output of the model isn't a number.
        """
        if top_k is not None:
            check_count("top_k", top_k)
        background_rgb = self.decoder.transform.background_rgb
        given = [open_input(each, background_rgb=background_rgb) for each in _checked_sequence(inputs)]
        size, pool = self.settings.batch_size, self.pool()
        records: list[ImageRecord] = []
        waiting: list[DecodeTask] = []
        for start in range(0, len(given), size):
            # The next batch is decoded while this one is classified.
            tasks = waiting or [pool.submit(each) for each in given[start : start + size]]
            waiting = [pool.submit(each) for each in given[start + size : start + 2 * size]]
            records += self.predict_decoded([_wait(pool, task) for task in tasks], top_k=top_k)
        return records

    def predict_one(self, image: "ImageInput", *, top_k: int | None = None) -> ImageRecord:
        """Classify one image.

        Raises:
            ImageError: it can't be classified; `kind` and `message` say why.
            TypeError: it is no image; the message names what to call.
        """
        (record,) = self.predict_batch([image], top_k=top_k)
        if record.error:
            raise ImageError(record.error.kind, record.error.message)
        return record

    def predict_decoded(self, decoded: Sequence[Decoded], *, top_k: int | None = None) -> list[ImageRecord]:
        """Classify inputs that were decoded elsewhere, by a `Decoder` of this model's transform.

        Args:
            decoded: crops, and the reasons why others are missing.
            top_k: how many classes a record names; None takes that of the settings.
        Returns:
            One record per input, in their order.
        Raises:
            ValueError: a crop hasn't the shape of this model's.
            UsageError: top_k is out of range.
            DeviceMemoryError: the device's memory doesn't hold even one image.
            ModelError: an output of the model isn't a number.
        """
        if top_k is not None:
            check_count("top_k", top_k)
        crops = [each.outcome for each in decoded if isinstance(each.outcome, Crop)]
        for crop in crops:
            if crop.pixels_HWC.shape != self._crop_shape or crop.pixels_HWC.dtype != np.uint8:
                found = f"{crop.pixels_HWC.dtype} {crop.pixels_HWC.shape}"
                raise ValueError(f"{self.backend.id} takes crops of uint8 {self._crop_shape}, not {found}")
        answers = self._batches.probabilities([crop.pixels_HWC for crop in crops])
        return [
            self._records.build(each, each.outcome, next(answers), top_k or self.settings.top_k)
            if isinstance(each.outcome, Crop)
            else self._records.failed(each, each.outcome)
            for each in decoded
        ]

    def pool(self) -> DecodePool:
        """The decoding threads; they start with the first call and end with `close`, or with this object."""
        with self._lock:
            # Threads don't survive a fork.
            if self._pool is None or self._pool_pid != os.getpid():
                settings = self.settings
                self._pool_pid = os.getpid()
                self._pool = DecodePool(
                    self.decoder,
                    num_threads=settings.num_threads or available_cores(),
                    time_limit_sec=settings.decode_limit_sec,
                    fetch_limit_sec=settings.fetch_limit_sec,
                    fetch=settings.fetch,
                )
                weakref.finalize(self, self._pool.close)
            return self._pool

    def close(self) -> None:
        """Let the decoding threads end; no other thread may be classifying. The next call starts them anew."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def __enter__(self) -> "Predictor":
        """Itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """See `close`."""
        self.close()


def _adjusted(transform: Transform, settings: PredictSettings) -> Transform:
    """A model's transform, with what was asked for in the place of what it was trained with."""
    return replace(
        transform,
        background_rgb=transform.background_rgb if settings.background_rgb is None else settings.background_rgb,
        depth_bits=transform.depth_bits if settings.depth_bits is None else settings.depth_bits,
        accepts_truncated=transform.accepts_truncated
        if settings.accepts_truncated is None
        else settings.accepts_truncated,
    )


def _checked_sequence(inputs: Any) -> "Sequence[ImageInput]":
    is_one = isinstance(inputs, (str, bytes, os.PathLike, Image.Image)) or hasattr(inputs, "read")
    if is_one or (isinstance(inputs, np.ndarray) and inputs.ndim < 4):
        raise TypeError(f"predict_batch takes a list of images, not one {type(inputs).__name__}; call predict for one")
    if not isinstance(inputs, (Sequence, np.ndarray)):
        raise TypeError(
            f"predict_batch takes a list of images, not {type(inputs).__name__}; "
            "call predict_many for files, folders and URLs that come one after the other"
        )
    return list(inputs)


def _wait(pool: DecodePool, task: DecodeTask) -> Decoded:
    while not pool.wait(task, POLL_SEC):
        pass
    assert task.decoded is not None
    return task.decoded
