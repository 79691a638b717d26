"""A data set's splits, before any image is decoded."""

from collections.abc import Sequence
from dataclasses import dataclass

from imgcls.datasets.labelled_images import DataDescription
from imgcls.datasets.stored_images import StoredImages

# The split of class folders alone that are evaluated as they are.
WHOLE = "all"
# Of an image: its class, or the classes that it shows, rising, where it may show any number of them.
Labels = int | tuple[int, ...]


@dataclass(frozen=True)
class ResolvedSplit:
    """Which images a split has.

    Attributes:
        images: where they lie; splits that were carved from one set share it.
        rows: indices in `images`.
        labels: class index of each row, or indices where `ResolvedData.is_multi_label` is true.
        description: for results.
    """

    images: StoredImages
    rows: Sequence[int]
    labels: Sequence[Labels]
    description: DataDescription


@dataclass(frozen=True)
class ResolvedData:
    """A data set's splits.

    Attributes:
        classes: names in the order of the class indices.
        splits: by name.
        warnings: what the person should know about the data, a sentence each.
        is_multi_label: whether an image may show any number of classes.
    """

    classes: tuple[str, ...]
    splits: dict[str, ResolvedSplit]
    warnings: tuple[str, ...] = ()
    is_multi_label: bool = False
