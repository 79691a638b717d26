"""What tells the classes apart without being in the image: size, light, or the kind of file.

A network learns whatever predicts the class in training, and fails where that is missing.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from imgcls.datasets.checks.finding import Finding
from imgcls.datasets.checks.scan import Scan

# Of what chance misses, the share that a small tree gets right by these values alone.
LEAST_SCORE = 0.5
# Fewer images say nothing about a class.
LEAST_IMAGES = 20
LEAST_OF_CLASS = 5
FOLDS = 5
LEAF_IMAGES = 5

Values = np.ndarray[Any, np.dtype[np.float64]]


def shortcuts(scan: Scan, *, seed: int) -> Iterator[Finding]:
    """Values beside the content that predict the class, by a decision tree on images that it didn't see.

    Args:
        scan: of the data set.
        seed: of the folds.
    """
    counts = Counter(place.label for place in scan.places)
    kept = [index for index, place in enumerate(scan.places) if counts[place.label] >= LEAST_OF_CLASS]
    labels_N = scan.labels_N[kept]
    if len(kept) < LEAST_IMAGES or len(set(labels_N.tolist())) < 2:
        return
    for name, values_NF in _groups(scan).items():
        score, accuracy, chance = _predictability(values_NF[kept], labels_N, seed)
        if score >= LEAST_SCORE:
            reason = (
                f"{name} alone predicts the class: {accuracy:.0%} balanced accuracy, chance is {chance:.0%}; a network "
                "may learn that instead of what is in the images"
            )
            yield Finding("shortcut", name, reason, score)


def turned_images(scan: Scan) -> Iterator[Finding]:
    """Images of which some, not all, are turned by EXIF alone: tools that ignore it see them lie on their side."""
    turned = [place for place, look in zip(scan.places, scan.looks, strict=True) if look.orientation != 1]
    if not turned or len(turned) == len(scan.places):
        return
    totals, parts = Counter(place.label for place in scan.places), Counter(place.label for place in turned)
    label = max(parts, key=lambda each: parts[each] / totals[each])
    yield Finding(
        "orientation",
        scan.classes[label],
        f"{len(turned):,} of {len(scan.places):,} images are upright by EXIF alone, most of {scan.classes[label]!r} "
        f"({parts[label] / totals[label]:.0%}); imgcls turns them, other tools may not",
        len(turned) / len(scan.places),
        label=scan.classes[label],
    )


def _groups(scan: Scan) -> dict[str, Values]:
    looks = scan.looks
    suffixes = sorted({place.path.suffix.lower() for place in scan.places if place.path is not None})
    kinds = [suffixes.index(place.path.suffix.lower()) if place.path is not None else 0 for place in scan.places]
    per_pixel = [look.num_bytes / (look.width * look.height) for look in looks]
    return {
        "size": np.array([[look.width, look.height, look.width / look.height] for look in looks], dtype=np.float64),
        "brightness": np.array([[look.brightness, look.contrast] for look in looks], dtype=np.float64),
        "file type": np.array([[kind, size] for kind, size in zip(kinds, per_pixel, strict=True)], dtype=np.float64),
    }


def _predictability(values_NF: Values, labels_N: Any, seed: int) -> tuple[float, float, float]:
    """Cohen's kappa of balanced accuracy, that accuracy, and what chance would reach."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    num_classes = len(set(labels_N.tolist()))
    tree = DecisionTreeClassifier(
        min_samples_leaf=LEAF_IMAGES,
        max_leaf_nodes=max(8, 4 * num_classes),
        class_weight="balanced",
        random_state=seed,
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        guessed_N = cross_val_predict(tree, values_NF, labels_N, cv=folds)
        accuracy = float(balanced_accuracy_score(labels_N, guessed_N))
    chance = 1 / num_classes
    return max((accuracy - chance) / (1 - chance), 0.0), accuracy, chance
