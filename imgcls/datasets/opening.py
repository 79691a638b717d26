"""Opening a data set: what `--data` says becomes splits that training and evaluation walk through."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from imgcls.datasets import decode_cache
from imgcls.datasets.checks.fixes import with_fixes
from imgcls.datasets.fingerprints import UNKNOWN, SeenImages
from imgcls.datasets.in_memory import InMemoryImages, PixelStore, decode_all
from imgcls.datasets.labelled_images import LabelledImages, class_counts
from imgcls.datasets.readers.folder import LAYOUT_HINT
from imgcls.datasets.readers.folder_checks import nested_hint, unread
from imgcls.datasets.resolved import ResolvedData, ResolvedSplit
from imgcls.datasets.resolving import SPLITS, resolve
from imgcls.datasets.stored_images import FileImages, StoredImages
from imgcls.datasets.streamed import StreamedImages, strict_error
from imgcls.errors import DataError
from imgcls.host.http.download import DownloadProgress
from imgcls.host.resources import available_bytes, available_cores
from imgcls.images.transform import Transform

# Half of what is free: the other half is for the network, its optimiser, and whoever else uses the machine.
MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class Dataset:
    """A data set to train on.

    Attributes:
        classes: names in the order of the class indices, the same for every split.
        train, val, test: the splits that were asked for and exist.
        warnings: what the person should know about the data, a sentence each.
    """

    classes: tuple[str, ...]
    train: LabelledImages | None = None
    val: LabelledImages | None = None
    test: LabelledImages | None = None
    warnings: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, LabelledImages]:
        """Those that are there, by name."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: images for name, images in named.items() if images is not None}

    @property
    def validation(self) -> LabelledImages | None:
        """The split that validates: val, else test, else none; its description says which it is."""
        return self.val if self.val is not None else self.test


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How images are decoded and held.

    Attributes:
        transform: its geometry; the rest of it is applied to batches, later.
        strict: a damaged image is an error; else it is skipped and counted.
        max_memory_mib: larger sets are streamed by worker processes; None takes half of the memory that is free.
        workers: threads or processes that decode; None takes one a core.
        progress: called with images decoded so far and in all, while a set is decoded for the first time.
    """

    transform: Transform
    strict: bool = False
    max_memory_mib: int | None = None
    workers: int | None = None
    progress: Callable[[int, int], None] | None = None


def open_dataset(
    spec: str,
    *,
    transform: Transform,
    val_fraction: float | None = None,
    seed: int = 0,
    seen: SeenImages | None = None,
    allow_modified: bool = False,
    strict: bool = False,
    fixes: Path | None = None,
    group_column: str = "",
    multi_label: bool | None = None,
    fold: tuple[int, int] | None = None,
    max_memory_mib: int | None = None,
    workers: int | None = None,
    splits: tuple[str, ...] = SPLITS,
    progress: Callable[[int, int], None] | None = None,
    download_progress: DownloadProgress | None = None,
) -> Dataset:
    """Open a data set for training.

    Args:
        spec: `cifar10` (downloaded when absent), a folder that is or holds `cifar-10-batches-py`, or an image folder:
            `train/` and `val|valid|test/` of class folders, or class folders alone; or a table of labels.
        transform: its geometry brings every image to one size.
        val_fraction: share of train to validate on where there is no val; None carves 0.2 where there is no test
            either (class folders alone), else nothing.
        seed: of the carving.
        seen: the images of an earlier training, whose split is kept where images are carved.
        allow_modified: accept CIFAR-10 files with other checksums than the published ones.
        strict: a damaged image is an error; else it is skipped and counted.
        fixes: a list of images to leave out or to relabel; see `checks.fixes`.
        group_column: of a table of labels; see `resolve`.
        multi_label: likewise.
        fold: which part of cross-validation validates, from 1, and how many parts there are.
        max_memory_mib: for pixels; larger sets are streamed. None takes half of the memory that is free.
        workers: threads or processes that decode; None takes one a core.
        splits: which to open, among train, val and test.
        progress: called with images decoded so far and in all.
        download_progress: called with bytes so far and in all.
    Raises:
        DataError: no such data set, it can't be used, or (strict) an image is damaged.
        ConfigError: val_fraction is out of range.
    """
    data = resolve(
        spec,
        splits=splits,
        val_fraction=val_fraction,
        seed=seed,
        seen=seen,
        allow_modified=allow_modified,
        group_column=group_column,
        multi_label=multi_label,
        fold=fold,
        download_progress=download_progress,
    )
    if fixes is not None:
        data = with_fixes(data, fixes)
    if "train" in splits:
        if "train" not in data.splits:
            raise DataError(f"{spec} has no train folder", hint=LAYOUT_HINT)
        if len(data.classes) < 2 and not data.is_multi_label:
            label, images = data.classes[0], data.splits["train"].images
            hint = nested_hint(images.root, label) if isinstance(images, FileImages) else ""
            raise DataError(f"{spec} has only one class, {label!r}", hint=hint or LAYOUT_HINT)
    opening = Opening(
        transform=transform, strict=strict, max_memory_mib=max_memory_mib, workers=workers, progress=progress
    )
    opened = open_splits(data, opening)
    warnings = list(data.warnings)
    if "train" in opened:
        counts = class_counts(opened["train"].labels_N, len(data.classes)).tolist()
        warnings += unread(data.classes, counts)
        warnings += [
            text for name in opened if name != "train" and (text := _leak(opened["train"], opened[name], name))
        ]
    return Dataset(classes=data.classes, warnings=tuple(warnings), **opened)


def open_splits(data: ResolvedData, opening: Opening) -> dict[str, LabelledImages]:
    """Decode what fits into memory and prepare to stream the rest."""
    budget = available_bytes() * MEMORY_SHARE if opening.max_memory_mib is None else opening.max_memory_mib * 2**20
    workers = available_cores() if opening.workers is None else opening.workers
    # Splits that were carved from one set share its pixels.
    stores: dict[int, PixelStore | None] = {}
    opened: dict[str, LabelledImages] = {}
    for name, split in data.splits.items():
        stored = split.images
        if id(stored) not in stores:
            num_bytes = len(stored) * 3 * math.prod(opening.transform.size_px)
            fits = num_bytes <= budget
            budget -= num_bytes if fits else 0
            stores[id(stored)] = _open_pixels(stored, opening, workers) if fits else None
        store = stores[id(stored)]
        rows_N = torch.tensor(split.rows, dtype=torch.int64)
        labels_N = (
            _labels(split, len(data.classes)) if data.is_multi_label else torch.tensor(split.labels, dtype=torch.int64)
        )
        if store is None:
            opened[name] = StreamedImages(
                stored,
                rows_N,
                labels_N,
                classes=data.classes,
                description=split.description,
                transform=opening.transform,
                workers=workers,
                strict=opening.strict,
            )
            continue
        images = InMemoryImages(store, stored, rows_N, labels_N, classes=data.classes, description=split.description)
        if opening.strict and images.skipped:
            raise strict_error(images.skipped[0], len(images.skipped))
        if not len(images):
            raise _all_unreadable(name, images)
        opened[name] = images
    return opened


def _labels(split: ResolvedSplit, num_classes: int) -> torch.Tensor:
    """1 for each class that an image shows: uint8, shape (N, K)."""
    labels_NK = torch.zeros(len(split.labels), num_classes, dtype=torch.uint8)
    for row, several in enumerate(split.labels):
        labels_NK[row, list(several)] = 1  # type: ignore[arg-type]
    return labels_NK


def _leak(train: LabelledImages, measured: LabelledImages, name: str) -> str:
    """A sentence where images that measure are trained on too, byte for byte; else nothing."""
    prints_N = measured.fingerprints()
    count = int((torch.isin(prints_N, train.fingerprints()) & (prints_N != UNKNOWN)).sum())
    if not count:
        return ""
    images = "1 image of {} is" if count == 1 else f"{count:,} images of {{}} are"
    return f"{images.format(name)} in train too, the same bytes: accuracies say too much; imgcls check names them"


def _open_pixels(images: StoredImages, opening: Opening, workers: int) -> PixelStore:
    ready = images.ready_pixels(opening.transform)
    if ready is not None:
        return PixelStore(ready)
    key = decode_cache.cache_key(images.content_key(), opening.transform)
    found = decode_cache.load_decoded(key, len(images), opening.transform.size_px)
    if found is None:
        found = decode_all(images, opening.transform, workers=workers, progress=opening.progress)
        decode_cache.store_decoded(key, found)
    return found


def _all_unreadable(name: str, images: InMemoryImages) -> DataError:
    first = images.skipped[0]
    return DataError(
        f"none of the {len(images.skipped)} images of {images.description.name} ({name}) can be read; "
        f"the first, {first.path}: {first.message}",
        hint="check the files",
    )
