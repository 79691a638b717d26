"""Labels that are probably wrong: confident learning on what a head says of images that it wasn't fitted to.

The head is a linear discriminant on frozen features, fitted twice: the second time without what the first one suspects,
which would teach it the same mistakes.

Shapes: N images, F features, K classes.
Source: Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", through cleanlab.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from imgcls.datasets.checks.finding import Finding
from imgcls.datasets.checks.scan import Scan

if TYPE_CHECKING:
    from imgcls.datasets.checks.discriminant import Doubles, Ints

# What cleanlab suspects is reported from this score on; see `benchmarks/data_faults.py` for what others would find.
LEAST_SCORE = 0.9


def suspected_labels(scan: Scan, *, seed: int, exclude: frozenset[int] = frozenset()) -> Iterator[Finding]:
    """Images whose features speak for another class than their label, the most suspicious first.

    Args:
        scan: with features, and images of at least two classes.
        seed: of the folds.
        exclude: images that aren't judged, as the later ones of exact copies, which would vouch for each other.
    Raises:
        ImportError: cleanlab isn't installed.
    """
    from imgcls.datasets.checks.discriminant import FOLDS, out_of_fold

    if scan.features_NF is None:
        return
    counts = np.bincount([place.label for place in scan.places], minlength=len(scan.classes))
    usable = [i for i, place in enumerate(scan.places) if i not in exclude and counts[place.label] >= FOLDS]
    kept, labels_N = np.unique(scan.labels_N[usable], return_inverse=True)
    if len(kept) < 2 or np.bincount(labels_N).min() < FOLDS:
        return
    features_NF = scan.features_NF[usable]
    first_NK = out_of_fold(features_NF, labels_N, seed=seed)
    trusted_N = np.ones(len(usable), dtype=bool)
    trusted_N[suspects(labels_N, first_NK)] = False
    found_NK = out_of_fold(features_NF, labels_N, seed=seed, trusted_N=trusted_N)
    for row in suspects(labels_N, found_NK):
        index, guessed = usable[row], int(found_NK[row].argmax())
        place, label, suggested = scan.places[index], scan.label_of(index), scan.classes[kept[guessed]]
        score = float(1 - found_NK[row, labels_N[row]])
        if score < LEAST_SCORE:
            return
        yield Finding(
            "label",
            place.name,
            f"looks like {suggested!r} ({found_NK[row, guessed]:.0%}), not {label!r} ({1 - score:.1%})",
            score,
            label=label,
            suggested_label=suggested,
            split=place.split,
        )


def suspects(labels_N: "Ints", probabilities_NK: "Doubles") -> list[int]:
    """Rows that confident learning suspects, the least probable label first.

    Raises:
        ImportError: cleanlab isn't installed.
    """
    from cleanlab.filter import find_label_issues

    found = find_label_issues(labels_N, probabilities_NK, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [int(row) for row in found]
