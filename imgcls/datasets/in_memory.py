"""A split held as one tensor of bytes: the fast path, where a batch is one index_select.

Shapes: N images of the split, M images of the store, B batch, C channels (3), H height, W width.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from imgcls.datasets.labelled_images import Batch, DataDescription, SkippedImage
from imgcls.datasets.stored_images import StoredImages
from imgcls.errors import ImageError, ImageErrorKind
from imgcls.images import time_limit
from imgcls.images.transform import Pixels, Transform

Progress = Callable[[int, int], None]
# Images per job of the thread pool: a job for each of 60,000 thumbnails would cost as much as decoding it.
CHUNK = 64
# Share of a GPU's free memory that pixels may take; the rest is for the network and its activations.
DEVICE_SHARE = 0.5


class Unreadable(NamedTuple):
    """An image that could not be decoded.

    Attributes:
        row: its index in the store.
        kind, message: as in `ImageError`.
    """

    row: int
    kind: ImageErrorKind
    message: str


@dataclass
class PixelStore:
    """Decoded images, shared by the splits that were carved from them.

    Attributes:
        pixels_MCHW: uint8 on the CPU; rows of unreadable images are zero.
        unreadable: those that could not be decoded.
    """

    pixels_MCHW: Tensor
    unreadable: tuple[Unreadable, ...] = ()
    _copies: dict[torch.device, Tensor] = field(default_factory=dict, repr=False)

    def on(self, device: torch.device) -> Tensor:
        """The pixels on a device, moved there once; where they would crowd it, the ones on the CPU."""
        if device.type == "cpu":
            return self.pixels_MCHW
        if device not in self._copies:
            if not _fits(device, self.pixels_MCHW.nbytes):
                return self.pixels_MCHW
            # Evaluation may be what asks first, and training must not get a tensor of its inference mode.
            with torch.inference_mode(False):
                self._copies[device] = self.pixels_MCHW.to(device)
        return self._copies[device]


class InMemoryImages:
    """One split of a data set, in memory; see `LabelledImages`.

    Args:
        store: the pixels.
        images: where they came from, to name the damaged ones.
        rows_N: the split's images, as indices in the store; unreadable ones are dropped here.
        labels_N: their class indices, int64.
        classes: labels in the order of the class indices.
        description: where the images came from.
    """

    def __init__(
        self,
        store: PixelStore,
        images: StoredImages,
        rows_N: Tensor,
        labels_N: Tensor,
        *,
        classes: tuple[str, ...],
        description: DataDescription,
    ) -> None:
        wanted = set(rows_N.tolist()) if store.unreadable else set()
        failed = [bad for bad in store.unreadable if bad.row in wanted]
        if failed:
            kept = ~torch.isin(rows_N, torch.tensor([bad.row for bad in failed]))
            rows_N, labels_N = rows_N[kept], labels_N[kept]
        self._store, self._stored = store, images
        self._rows_N = rows_N
        self.labels_N = labels_N
        self.classes = classes
        self.description = description
        self.skipped = tuple(SkippedImage(images.path(bad.row), bad.kind, bad.message) for bad in failed)

    def __len__(self) -> int:
        return len(self.labels_N)

    def fingerprints(self) -> Tensor:
        """See `LabelledImages`."""
        return self._stored.fingerprints()[self._rows_N]

    def stored(self, index: int) -> tuple[StoredImages, int]:
        """See `LabelledImages`."""
        return self._stored, int(self._rows_N[index])

    @property
    def drops_damaged(self) -> bool:
        """See `LabelledImages`: here they are known from the start, and none of them is among the labels."""
        return False

    def batches(self, order: Tensor, *, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """See `LabelledImages`."""
        pixels_MCHW = self._store.on(device)
        rows_N = self._rows_N[order].to(pixels_MCHW.device)
        labels_N = self.labels_N[order].to(device)
        for start in range(0, len(order), batch_size):
            images_BCHW = pixels_MCHW.index_select(0, rows_N[start : start + batch_size])
            here = slice(start, start + batch_size)
            yield Batch(images_BCHW.to(device, non_blocking=True), labels_N[here], order[here])


def decode_all(
    images: StoredImages, transform: Transform, *, workers: int, progress: Progress | None = None
) -> PixelStore:
    """Decode and crop every image with a pool of threads; Pillow lets go of the interpreter while it works.

    Args:
        images: what to decode.
        transform: its geometry.
        workers: threads.
        progress: called with images done and in all.
    """
    total = len(images)
    pixels_MCHW = np.zeros((total, 3, *transform.size_px), dtype=np.uint8)

    def decode(indices: Sequence[int]) -> list[Unreadable]:
        failed = []
        for index, found in zip(indices, crops_within(images, indices, transform), strict=True):
            if isinstance(found, ImageError):
                failed.append(Unreadable(index, found.kind, found.message))
            else:
                pixels_MCHW[index] = found.transpose(2, 0, 1)
        return failed

    failed: list[Unreadable] = []
    done = 0
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="decode") as pool:
        chunks = [range(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
        pending: dict[Future[list[Unreadable]], int] = {pool.submit(decode, chunk): len(chunk) for chunk in chunks}
        try:
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    done += pending.pop(future)
                    failed += future.result()
                if progress is not None:
                    progress(done, total)
        except BaseException:
            # Without this an interrupt would wait for every image in the queue.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return PixelStore(torch.from_numpy(pixels_MCHW), tuple(sorted(failed)))


def crops_within(images: StoredImages, indices: Sequence[int], transform: Transform) -> list[Pixels | ImageError]:
    """Images after a transform's geometry, or why there are none; each has its time to decode, as in a prediction.

    Args:
        images: what to decode.
        indices: which of them, a batch at a time.
        transform: its geometry.
    """

    def crop(index: int) -> Pixels | ImageError:
        try:
            return images.crop(index, transform)
        except ImageError as exc:
            # Its traceback would keep the pixels.
            return ImageError(exc.kind, exc.message)

    return time_limit.map_within(crop, indices, time_limit.IMAGE_LIMIT_SEC)


def _fits(device: torch.device, num_bytes: int) -> bool:
    if device.type != "cuda":
        # MPS shares the machine's memory; XPU can't be asked on every driver.
        return True
    free, _total = torch.cuda.mem_get_info(device)
    return num_bytes <= free * DEVICE_SHARE
