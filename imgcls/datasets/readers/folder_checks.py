"""What is probably not meant in a folder of class folders, a sentence each."""

import os
import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from imgcls.datasets.readers.folder import ScannedFolder, other_suffixes

# How many names a sentence spells out before it only counts them.
NAMES_SHOWN = 5
SUFFIXES_SHOWN = 3


def folder_warnings(scan: ScannedFolder) -> list[str]:
    """Class folders without images or of nearly the same name, and images that belong to no class."""
    return [*_empty(scan), *_nearly_same(scan), *_loose(scan), *_hidden(scan), *outputs_left_out(scan.outputs)]


def outputs_left_out(names: Sequence[str]) -> list[str]:
    """Folders of runs and studies that lie among the images."""
    if not names:
        return []
    return [f"{spell(names, 'folder of runs is', 'folders of runs are')} left out, being no class: {quoted(names)}"]


def beside_splits(outputs: Sequence[str], others: Sequence[str]) -> list[str]:
    """Folders beside those of the splits."""
    found = outputs_left_out(outputs)
    if others:
        what = spell(others, "folder beside the splits is", "folders beside the splits are")
        found.append(f"{what} left out, being neither train, val nor test: {quoted(others)}")
    return found


def unlabelled(split: str, folder: Path) -> str:
    """A split whose images lie in no class folders, as in a competition."""
    return f"{folder} holds images without class folders, so that it is no {split} split: imgcls predict answers them"


def singles(scan: ScannedFolder) -> list[str]:
    """Classes of one image, which can't be both in training and in validation."""
    counts = dict.fromkeys(scan.classes, 0)
    for file in scan.files:
        counts[file.label] += 1
    single = [label for label, count in counts.items() if count == 1]
    if not single:
        return []
    if len(single) == len(counts):
        return [f"every class of {scan.root} has a single image, which goes to training: there is no validation"]
    return [
        f"{spell(single, 'class has', 'classes have')} a single image, which goes to training, so that "
        f"validation never sees it: {quoted(single)}"
    ]


def unread(classes: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Classes none of whose training images could be read.

    Args:
        classes: names in the order of the class indices.
        counts: readable training images of each.
    """
    lost = [label for label, count in zip(classes, counts, strict=True) if not count]
    if not lost:
        return []
    return [f"no training image of {spell(lost, 'class', 'classes')} can be read: {quoted(lost)}"]


def nested_hint(root: Path, label: str) -> str:
    """What to do where a folder holds a single class: perhaps the classes lie one level deeper. May be empty."""
    folder = root / label
    try:
        with os.scandir(folder) as entries:
            deeper = sum(entry.is_dir() and not entry.name.startswith(".") for entry in entries)
    except OSError:
        return ""
    return f"if the {deeper} folders in it are the classes: --data {shlex.quote(str(folder))}" if deeper > 1 else ""


def same_but_for_case(names: Sequence[str], others: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of a name and another one that differ in case only."""
    by_fold = {other.casefold(): other for other in others}
    return [(name, by_fold[name.casefold()]) for name in names if by_fold.get(name.casefold(), name) != name]


def spell(items: Sequence[str], one: str, many: str) -> str:
    """How many there are, in words that fit the number."""
    return f"{len(items):,} {one if len(items) == 1 else many}"


def quoted(names: Sequence[str]) -> str:
    """The first names in quotes, and how many more."""
    shown = ", ".join(repr(name) for name in names[:NAMES_SHOWN])
    return shown + (f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else "")


def _empty(scan: ScannedFolder) -> list[str]:
    if not scan.empty:
        return []
    found = [_with_suffixes(scan.root / name, name) for name in scan.empty[:NAMES_SHOWN]]
    more = f" and {len(scan.empty) - NAMES_SHOWN:,} more" if len(scan.empty) > NAMES_SHOWN else ""
    what = spell(scan.empty, "class folder has no images and is", "class folders have no images and are")
    text = f"{what} left out: {', '.join(found)}{more}"
    return [text + ("; convert files of other types to JPEG or PNG" if any("(" in name for name in found) else "")]


def _with_suffixes(folder: Path, name: str) -> str:
    counts = {suffix: count for suffix, count in other_suffixes(folder).items() if suffix}
    if not counts:
        return repr(name)
    shown = ", ".join(f"{count:,} {suffix}" for suffix, count in list(counts.items())[:SUFFIXES_SHOWN])
    return f"{name!r} ({shown})"


def _nearly_same(scan: ScannedFolder) -> list[str]:
    by_fold = defaultdict(list)
    for name in scan.classes:
        by_fold[name.casefold().strip()].append(name)
    return [
        f"{' and '.join(map(repr, names))} are {len(names)} classes that differ in nothing but case and spaces; "
        "if they are one, put their images into one folder"
        for names in by_fold.values()
        if len(names) > 1
    ]


def _loose(scan: ScannedFolder) -> list[str]:
    if not scan.loose:
        return []
    what = spell(scan.loose, "image lies", "images lie")
    return [f"in {scan.root}, {what} beside the class folders, in none of them: {quoted(scan.loose)}"]


def _hidden(scan: ScannedFolder) -> list[str]:
    if not scan.hidden:
        return []
    what = spell(scan.hidden, "folder of images is", "folders of images are")
    return [f"{what} left out for the dot that its name begins with: {quoted(scan.hidden)}; rename it if it is a class"]
