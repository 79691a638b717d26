"""Some images of a split, walked through as if they were all.

Shapes: N images of the split, M of these, B batch.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from imgcls.datasets.labelled_images import Batch, LabelledImages, SplitOf
from imgcls.datasets.stored_images import StoredImages


class SomeImages(SplitOf):
    """A part of a split; see `LabelledImages`.

    Args:
        images: the split.
        rows_M: which of its images, int64.
    """

    def __init__(self, images: LabelledImages, rows_M: Tensor) -> None:
        super().__init__(images)
        self._rows_M = rows_M
        self._places_N = torch.zeros(len(images), dtype=torch.int64)
        self._places_N[rows_M] = torch.arange(len(rows_M))

    def __len__(self) -> int:
        return len(self._rows_M)

    @property
    def labels_N(self) -> Tensor:
        """See `LabelledImages`."""
        return self._images.labels_N[self._rows_M]

    def fingerprints(self) -> Tensor:
        """See `LabelledImages`."""
        return self._images.fingerprints()[self._rows_M]

    def stored(self, index: int) -> tuple[StoredImages, int]:
        """See `LabelledImages`."""
        return self._images.stored(int(self._rows_M[index]))

    def batches(self, order: Tensor, *, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """See `LabelledImages`."""
        for batch in self._images.batches(self._rows_M[order], batch_size=batch_size, device=device):
            yield batch._replace(indices_B=self._places_N[batch.indices_B])
