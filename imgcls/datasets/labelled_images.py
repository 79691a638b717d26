"""Labelled images, in memory or on disk, behind one way to walk through them in batches.

Shapes: N images of the set, B batch, C channels (3), H height, W width.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from imgcls.errors import ImageErrorKind

if TYPE_CHECKING:
    from imgcls.datasets.stored_images import StoredImages


class Batch(NamedTuple):
    """Images and their labels, on the device, and which they are.

    Attributes:
        images_BCHW: uint8, before `Transform.normalise`.
        labels_B: int64; of multi-label images uint8, shape (batch, num_classes).
        indices_B: which images of the set these are, int64, on the CPU; damaged ones that were asked for are missing.
    """

    images_BCHW: Tensor
    labels_B: Tensor
    indices_B: Tensor


@dataclass(frozen=True, slots=True)
class SkippedImage:
    """A file that could not be decoded, and why."""

    path: Path
    kind: ImageErrorKind
    message: str


@dataclass(frozen=True, slots=True)
class DataDescription:
    """Where labelled images came from, so that a figure can be traced.

    Attributes:
        name: `cifar10`, or the folder as the user named it.
        split: `train`, `val` or `test`.
        fingerprint: SHA-256 over the files' names, sizes and times (folders) or contents (CIFAR-10).
        modified: whether CIFAR-10's files have other checksums than the published ones.
    """

    name: str
    split: str
    fingerprint: str
    modified: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and checkpoints."""
        return {"name": self.name, "split": self.split, "fingerprint": self.fingerprint, "modified": self.modified}


class LabelledImages(Protocol):
    """One split of a data set."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels, in the order of the class indices."""

    @property
    def labels_N(self) -> Tensor:
        """Class indices, int64, on the CPU; images known to be damaged are not among them.

        Where an image may show any number of classes, 1 for each that it shows, else 0: uint8, shape (N, K).
        """

    @property
    def description(self) -> DataDescription:
        """Where the images came from."""

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """The damaged files found so far."""

    @property
    def drops_damaged(self) -> bool:
        """Whether a batch may lack images that turn out to be damaged."""

    def __len__(self) -> int:
        """How many images, N."""

    def fingerprints(self) -> Tensor:
        """What each image's file holds, in eight bytes: int64, shape (N,), on the CPU."""

    def stored(self, index: int) -> "tuple[StoredImages, int]":
        """Where one image lies before any transform: a store, and the image's index in it.

        Args:
            index: in [0, N).
        """

    def batches(self, order: Tensor, *, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """Walk through some or all images in a given order, a batch for each `batch_size` of them, be it empty.

        Args:
            order: indices in [0, N), int64, on the CPU.
            batch_size: of every batch but the last.
            device: where the batches go.
        """


def is_multi_label(images: LabelledImages) -> bool:
    """Whether an image may show any number of classes."""
    return images.labels_N.ndim == 2


def class_counts(labels_N: Tensor, num_classes: int) -> Tensor:
    """How many images show each class.

    Args:
        labels_N: see `LabelledImages.labels_N`.
        num_classes: K.
    Returns:
        int64, shape (K,).
    """
    if labels_N.ndim == 2:
        return labels_N.sum(0, dtype=torch.int64)
    return labels_N.bincount(minlength=num_classes)


class SplitOf:
    """The same split seen otherwise: what isn't said anew is that of the original; see `LabelledImages`.

    Args:
        images: the original.
    """

    def __init__(self, images: LabelledImages) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def fingerprints(self) -> Tensor:
        """See `LabelledImages`."""
        return self._images.fingerprints()

    def stored(self, index: int) -> "tuple[StoredImages, int]":
        """See `LabelledImages`."""
        return self._images.stored(index)

    @property
    def classes(self) -> tuple[str, ...]:
        """See `LabelledImages`."""
        return self._images.classes

    @property
    def labels_N(self) -> Tensor:
        """See `LabelledImages`."""
        return self._images.labels_N

    @property
    def description(self) -> DataDescription:
        """See `LabelledImages`."""
        return self._images.description

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """See `LabelledImages`."""
        return self._images.skipped

    @property
    def drops_damaged(self) -> bool:
        """See `LabelledImages`."""
        return self._images.drops_damaged


def digest_of(images: LabelledImages) -> str:
    """SHA-256 over the fingerprints and labels of a split, in its order: the same whatever the times of the files."""
    labels_N = images.labels_N
    columns = labels_N[:, None] if labels_N.ndim == 1 else labels_N.long()
    rows = torch.cat([images.fingerprints()[:, None], columns], dim=1)
    return hashlib.sha256(rows.numpy().tobytes()).hexdigest()
