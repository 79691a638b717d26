"""Labels that are probably wrong: confident learning on what a head says of images that it wasn't fitted to.

The head is a linear discriminant on the frozen features. It is fitted in closed form, so that the folds of 50,000 images
take seconds, and twice: the second time without what the first one suspects, which would teach it the same mistakes.

Shapes: N images, F features, K classes.
Source: Northcutt et al. 2021, "Confident Learning" (through cleanlab); Friedman 1989 for the regularised discriminant.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from imgcls.datasets.checks.finding import Finding
from imgcls.datasets.checks.scan import Scan
from imgcls.images.transform import Floats

FOLDS = 5
# Towards a covariance that is the same in all directions, as of n images in F dimensions the smallest are wrong.
SHRINKAGE = 0.6
# A class of fewer images can't be in the training part of each fold.
LEAST_IMAGES = 5
TEMPERATURES = np.geomspace(0.25, 32, 43)

Doubles = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


def suspected_labels(scan: Scan, *, seed: int, exclude: frozenset[int] = frozenset()) -> Iterator[Finding]:
    """Images whose features speak for another class than their label, the most suspicious first.

    Args:
        scan: with features, and images of at least two classes.
        seed: of the folds.
        exclude: images that aren't judged, such as later ones of copies.
    Raises:
        ImportError: cleanlab isn't installed.
    """
    counts = np.bincount(scan.labels_N, minlength=len(scan.classes))
    usable = [
        index
        for index, place in enumerate(scan.places)
        if index not in exclude and counts[place.label] >= LEAST_IMAGES
    ]
    if scan.features_NF is None or len({scan.places[index].label for index in usable}) < 2:
        return
    kept, labels_N = np.unique(scan.labels_N[usable], return_inverse=True)
    found_NK = out_of_fold(scan.features_NF[usable], labels_N, seed=seed)
    for row in _issues(labels_N, found_NK):
        index = usable[row]
        guessed = int(found_NK[row].argmax())
        suggested, label = scan.classes[kept[guessed]], scan.label_of(index)
        place = scan.places[index]
        yield Finding(
            "label",
            place.name,
            f"looks like {suggested!r} ({found_NK[row, guessed]:.0%}), not {label!r} ({found_NK[row, labels_N[row]]:.0%})",
            float(1 - found_NK[row, labels_N[row]]),
            label=label,
            suggested_label=suggested,
            split=place.split,
        )
