"""Classes that are too small beside the others, or have nearly the same name as another one."""

import re
from collections.abc import Iterator, Sequence

from imgcls.datasets.checks.finding import Finding
from imgcls.datasets.checks.scan import Scan

# The largest class has at least so many times the images of one that is called small.
SMALL_TIMES = 10
# Fewer than this teach a network little, however few the others have.
FEW_IMAGES = 10
# A letter more or less in a shorter word is mostly another word.
TYPO_LETTERS = 6


def small_classes(scan: Scan) -> Iterator[Finding]:
    """Classes with few training images, absolutely or beside the largest."""
    counts = [0] * len(scan.classes)
    for place in scan.places:
        if place.split == "train":
            counts[place.label] += 1
    most = max(counts, default=0)
    if not most:
        return
    largest = scan.classes[counts.index(most)]
    for name, count in zip(scan.classes, counts, strict=True):
        images = "1 training image" if count == 1 else f"{count:,} training images"
        if count * SMALL_TIMES <= most:
            reason = f"{images}, {largest!r} has {most:,}"
        elif count < FEW_IMAGES:
            reason = f"only {images}"
        else:
            continue
        yield Finding("imbalance", name, reason, 1 - count / most if most > count else 0.5, other=largest, label=name)


def similar_names(classes: Sequence[str]) -> Iterator[Finding]:
    """Pairs of names that are probably one: case, spaces, hyphens, a plural, a letter too many or exchanged."""
    plain = [_plain(name) for name in classes]
    for second, name in enumerate(classes):
        for first in range(second):
            if plain[first] == plain[second]:
                why, score = "differ in case, spaces, signs or a plural alone", 1.0
            elif _is_typo(plain[first], plain[second]):
                why, score = "differ in a letter", 0.5
            else:
                continue
            yield Finding("class_name", name, f"{classes[first]!r} and {name!r} {why}", score, other=classes[first])


def _plain(name: str) -> str:
    letters = re.sub(r"[\W_]+", "", name.casefold())
    return letters[:-1] if len(letters) > 3 and letters.endswith("s") else letters


def _is_typo(first: str, second: str) -> bool:
    """Whether a letter is missing, or two neighbours are exchanged; numbers tell classes apart and are none."""
    if min(len(first), len(second)) < TYPO_LETTERS or not (first.isalpha() and second.isalpha()):
        return False
    shorter, longer = sorted((first, second), key=len)
    if len(longer) - len(shorter) == 1:
        return any(longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer)))
    differ = [place for place, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]]
    if len(first) != len(second) or len(differ) != 2 or differ[1] - differ[0] != 1:
        return False
    return first[differ[0]] == second[differ[1]] and first[differ[1]] == second[differ[0]]
