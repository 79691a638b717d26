"""A stratified split that depends on names and a seed, not on a library's random generator."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.stored_images import StoredImages
from imgcls.errors import ConfigError


@dataclass(frozen=True)
class Carving:
    """How validation images are taken from the training images.

    Attributes:
        val_fraction, seed, seen: see `resolving.resolve`.
        groups: of each image, where images of one group must stay together; empty for no groups.
        fold: which part of cross-validation validates, from 1, and how many parts there are; None for none.
    """

    val_fraction: float | None
    seed: int
    seen: SeenImages | None = None
    groups: tuple[str, ...] = ()
    fold: tuple[int, int] | None = None

    def carve(
        self, labels: Sequence[int], names: Sequence[str], images: StoredImages, fraction: float
    ) -> dict[str, list[int]]:
        """Rows of `train` and `val`."""
        if self.fold is not None and self.seen is None:
            train, val = split_fold(labels, names, fold=self.fold, seed=self.seed, groups=self.groups)
        elif self.groups:
            trained: set[str] = set()
            if self.seen is not None:
                known = torch.isin(images.fingerprints(), self.seen.trained).tolist()
                trained = {group for group, is_known in zip(self.groups, known, strict=True) if is_known}
            train, val = split_grouped(
                labels, self.groups, val_fraction=fraction, seed=self.seed, stays_in_training=trained
            )
        elif self.seen is None:
            train, val = split_stratified(labels, names, val_fraction=fraction, seed=self.seed)
        else:
            prints_N = images.fingerprints()
            train, val = split_as_before(labels, names, prints_N, self.seen, val_fraction=fraction, seed=self.seed)
        return {"train": train, "val": val}


def split_stratified(
    labels: Sequence[int], names: Sequence[str], *, val_fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Choose the validation images of each class.

    A class of two or more gives at least one image to each side; a class of one goes to training. An image's place
    follows from its own name, so the same files split alike on every machine, and adding some moves few of the others.

    Args:
        labels: class index of each image.
        names: a name for each image, unique.
        val_fraction: share of every class to validate on, in [0, 1).
        seed: another seed, another split.
    Returns:
        Indices of the training and of the validation images, both rising.
    Raises:
        ConfigError: val_fraction is out of range.
    """
    if not 0 <= val_fraction < 1:
        raise ConfigError(f"val_fraction {val_fraction} is not in [0, 1)", hint="use 0.2, or 0 for no validation split")
    members: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    val: list[int] = []
    for indices in members.values():
        if val_fraction == 0 or len(indices) == 1:
            continue
        wanted = min(max(round(len(indices) * val_fraction), 1), len(indices) - 1)
        val += sorted(indices, key=lambda index: _draw(names[index], seed))[:wanted]
    chosen = set(val)
    return [index for index in range(len(labels)) if index not in chosen], sorted(val)


def split_grouped(
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    val_fraction: float,
    seed: int,
    stays_in_training: Collection[str] = (),
) -> tuple[list[int], list[int]]:
    """Choose whole groups to validate on, until each class has about its share there; no group is on both sides.

    An image without a group (an empty text) is one by itself. A class whose images are all of one group stays in
    training.

    Args:
        labels: class index of each image.
        groups: of each image.
        val_fraction: share of every class to validate on, in [0, 1).
        seed: another seed, another split.
        stays_in_training: groups of an earlier training's images.
    Returns:
        Indices of the training and of the validation images, both rising.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group or f"\0{index}"].append(index)
    totals = Counter(labels)
    taken: Counter[int] = Counter()
    val: list[int] = []
    for group in sorted(members, key=lambda group: _draw(group, seed)):
        if group in stays_in_training:
            continue
        counts = Counter(labels[index] for index in members[group])
        # All of a group's classes must have room left, half an image of rounding included, and keep some in training.
        room = all(taken[each] + count <= totals[each] * val_fraction + 0.5 * count for each, count in counts.items())
        if room and all(taken[each] + count < totals[each] for each, count in counts.items()):
            taken.update(counts)
            val += members[group]
    chosen = set(val)
    return [index for index in range(len(labels)) if index not in chosen], sorted(val)


def split_fold(
    labels: Sequence[int], names: Sequence[str], *, fold: tuple[int, int], seed: int, groups: Sequence[str] = ()
) -> tuple[list[int], list[int]]:
    """One of several parts, each with about its share of every class, that together hold each image once.

    Args:
        labels: class index of each image.
        names: a name for each image, unique.
        fold: which part validates, from 1, and how many there are.
        seed: another seed, other parts.
        groups: of each image, whose images stay in one part; empty for no groups.
    Returns:
        Indices of the training and of the validation images, both rising.
    Raises:
        ConfigError: there is no such part, or fewer images or groups than parts.
    """
    number, count = fold
    if not 1 <= number <= count or count < 2:
        raise ConfigError(f"data.fold = {number} is not in 1 to data.folds = {count}", hint="--folds 5 trains them all")
    members: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        members[(groups[index] if groups else "") or f"\0{name}"].append(index)
    if len(members) < count:
        what = "groups" if groups else "images"
        raise ConfigError(f"{len(members)} {what} can't be divided into {count} folds", hint=f"--folds {len(members)}")
    # The fullest groups of a class first, each to the part that has least of its class, then least of all.
    held = [Counter[int]() for _ in range(count)]
    parts: list[list[int]] = [[] for _ in range(count)]
    for group in sorted(members, key=lambda group: (-len(members[group]), _draw(group, seed))):
        counts = Counter(labels[index] for index in members[group])
        main = counts.most_common(1)[0][0]
        place = min(range(count), key=lambda part: (held[part][main], len(parts[part]), part))
        held[place].update(counts)
        parts[place] += members[group]
    val = sorted(parts[number - 1])
    chosen = set(val)
    return [index for index in range(len(labels)) if index not in chosen], val


def split_as_before(
    labels: Sequence[int],
    names: Sequence[str],
    fingerprints_N: Tensor,
    seen: SeenImages,
    *,
    val_fraction: float,
    seed: int,
) -> tuple[list[int], list[int]]:
    """Keep the split of an earlier training, whatever its images are called by now.

    Images that it didn't know are split among themselves.

    Args:
        labels: class index of each image.
        names: a name for each image, unique.
        fingerprints_N: of each image, int64.
        seen: the images of the earlier training; those that it trained on must not validate.
        val_fraction: share of the new images of every class to validate on, in [0, 1).
        seed: of the split of new images.
    Returns:
        Indices of the training and of the validation images, both rising.
    """
    prints = fingerprints_N.tolist()
    validated, trained = Counter(seen.val.tolist()), set(seen.trained.tolist())
    train: list[int] = []
    val: list[int] = []
    new: list[int] = []
    # Of equal images, some of which trained, the same ones validate as then: the first in the order of the draw.
    for row in sorted(range(len(prints)), key=lambda row: _draw(names[row], seed)):
        if prints[row] in validated and (validated[prints[row]] > 0 or prints[row] not in trained):
            validated[prints[row]] -= 1
            val.append(row)
        elif prints[row] in trained:
            train.append(row)
        else:
            new.append(row)
    new.sort()
    parts = split_stratified(
        [labels[row] for row in new], [names[row] for row in new], val_fraction=val_fraction, seed=seed
    )
    more_train, more_val = ([new[index] for index in part] for part in parts)
    return sorted(train + more_train), sorted(val + more_val)


def _draw(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
