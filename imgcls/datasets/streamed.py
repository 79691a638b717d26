"""A split too large for memory: worker processes decode it anew in every epoch.

Shapes: N images of the split, B batch, C channels (3), H height, W width.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from imgcls.datasets.in_memory import Unreadable, crops_within
from imgcls.datasets.labelled_images import Batch, DataDescription, SkippedImage
from imgcls.datasets.stored_images import StoredImages
from imgcls.errors import DataError, ImageError
from imgcls.images.transform import Transform


class _Decoded(NamedTuple):
    images_BCHW: Tensor
    positions_B: Tensor
    failed: list[Unreadable]


class StreamedImages:
    """One split of a data set, decoded as it is walked through; see `LabelledImages`.

    A damaged image is found when it is first met: it is dropped from its batch, noted once in `skipped`, and stays
    in `labels_N`, so that an order made before stays right. The workers start with the first walk and stay for the
    next ones.

    Args:
        images: where they lie; must pickle.
        rows_N: the split's images, as indices in `images`.
        labels_N: their class indices, int64.
        classes: labels in the order of the class indices.
        description: where the images came from.
        transform: its geometry.
        workers: processes; 0 decodes in this one.
        strict: a damaged image is an error.
    """

    def __init__(
        self,
        images: StoredImages,
        rows_N: Tensor,
        labels_N: Tensor,
        *,
        classes: tuple[str, ...],
        description: DataDescription,
        transform: Transform,
        workers: int,
        strict: bool = False,
    ) -> None:
        self.labels_N = labels_N
        self.classes = classes
        self.description = description
        self._images = images
        self._rows_N = rows_N
        self._dataset = _CroppedImages(images, rows_N, transform)
        self._workers = workers
        self._strict = strict
        self._order = _GivenOrder()
        self._loaders: dict[bool, DataLoader[_Decoded]] = {}
        self._skipped: dict[int, SkippedImage] = {}

    def __len__(self) -> int:
        return len(self.labels_N)

    def fingerprints(self) -> Tensor:
        """See `LabelledImages`."""
        return self._images.fingerprints()[self._rows_N]

    def stored(self, index: int) -> tuple[StoredImages, int]:
        """See `LabelledImages`."""
        return self._images, int(self._rows_N[index])

    @property
    def drops_damaged(self) -> bool:
        """See `LabelledImages`."""
        return not self._strict

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """The damaged files found so far, in the order of the set."""
        return tuple(self._skipped[row] for row in sorted(self._skipped))

    def batches(self, order: Tensor, *, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """See `LabelledImages`.

        Raises:
            DataError: strict, and an image is damaged.
        """
        indices = order.tolist()
        self._order.batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
        for decoded in self._loader(device):
            for bad in decoded.failed:
                self._note(bad)
            images_BCHW = decoded.images_BCHW.to(device, non_blocking=True)
            labels_B = self.labels_N[decoded.positions_B].to(device, non_blocking=True)
            yield Batch(images_BCHW, labels_B, decoded.positions_B)

    def _loader(self, device: torch.device) -> "DataLoader[_Decoded]":
        # Page-locked memory lets the copy to a GPU overlap with its work, and only warns where there is none.
        pin = device.type == "cuda"
        if pin not in self._loaders:
            self._loaders[pin] = DataLoader(
                self._dataset,
                batch_sampler=self._order,
                num_workers=self._workers,
                persistent_workers=self._workers > 0,
                collate_fn=_collate,
                worker_init_fn=_leave_the_group,
                pin_memory=pin,
            )
        return self._loaders[pin]

    def _note(self, bad: Unreadable) -> None:
        path = self._images.path(bad.row)
        if self._strict:
            raise strict_error(SkippedImage(path, bad.kind, bad.message))
        self._skipped.setdefault(bad.row, SkippedImage(path, bad.kind, bad.message))


def strict_error(first: SkippedImage, count: int = 1) -> DataError:
    """What `strict` raises for damaged images."""
    more = f" (the first of {count})" if count > 1 else ""
    return DataError(
        f"{first.path} can't be read: {first.kind}: {first.message}{more}",
        hint="repair or remove it, or leave out --strict to skip such images",
    )


class _GivenOrder:
    """Hands the batches to whichever loader iterates; the loader itself can't be given another sampler."""

    def __init__(self) -> None:
        self.batches: Sequence[list[int]] = ()

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _CroppedImages(Dataset[Any]):
    """What a worker holds: it opens one image at a time, and the loader asks for a batch of them."""

    def __init__(self, images: StoredImages, rows_N: Tensor, transform: Transform) -> None:
        self.images = images
        self.rows_N = rows_N
        self.transform = transform

    def __getitems__(self, positions: list[int]) -> list[tuple[int, Tensor | Unreadable]]:
        rows = [int(self.rows_N[position]) for position in positions]
        found = crops_within(self.images, rows, self.transform)
        return [
            (position, Unreadable(row, each.kind, each.message))
            if isinstance(each, ImageError)
            else (position, torch.from_numpy(each.transpose(2, 0, 1).copy()))
            for position, row, each in zip(positions, rows, found, strict=True)
        ]

    def __getitem__(self, position: int) -> tuple[int, Tensor | Unreadable]:
        return self.__getitems__([position])[0]


def _leave_the_group(_worker: int) -> None:
    """Keep a worker out of signals to the whole group, as Ctrl-C and torchrun send them.

    The main process has a step to finish and a state to save then, and no worker may die before it says so.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()


def _collate(items: list[tuple[int, Tensor | Unreadable]]) -> _Decoded:
    good = [(position, pixels) for position, pixels in items if isinstance(pixels, Tensor)]
    return _Decoded(
        images_BCHW=torch.stack([pixels for _, pixels in good])
        if good
        else torch.empty((0, 3, 1, 1), dtype=torch.uint8),
        positions_B=torch.tensor([position for position, _ in good], dtype=torch.int64),
        failed=[bad for _, bad in items if isinstance(bad, Unreadable)],
    )
