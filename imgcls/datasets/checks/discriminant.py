"""A linear discriminant in closed form, and what it says of images that it wasn't fitted to.

Shapes: N images, F features, K classes.
Source: Friedman 1989, "Regularized Discriminant Analysis" (shrinkage towards a multiple of the identity).
"""

from typing import Any

import numpy as np

from imgcls.images.transform import Floats

FOLDS = 5
# Of n images in F dimensions, the smallest directions of the covariance are noise.
SHRINKAGE = 0.6
TEMPERATURES = np.geomspace(0.25, 64, 49)

Doubles = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


def out_of_fold(features_NF: Floats, labels_N: Ints, *, seed: int, trusted_N: Bools | None = None) -> Doubles:
    """Probabilities of each image's classes, from a discriminant that was fitted without it.

    Args:
        features_NF: of the frozen network.
        labels_N: in [0, K), each at least `FOLDS` times.
        seed: of the folds.
        trusted_N: which images may be fitted to; None for all.
    Returns:
        float64, shape (N, K); scaled by the one temperature that suits them best, as a discriminant is far too sure.
    """
    from sklearn.model_selection import StratifiedKFold

    num_classes = int(labels_N.max()) + 1
    spread_F = features_NF.std(axis=0)
    scaled_NF = ((features_NF - features_NF.mean(axis=0)) / np.where(spread_F > 0, spread_F, 1)).astype(np.float64)
    logits_NK = np.zeros((len(labels_N), num_classes))
    for fit, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels_N, labels_N):
        if trusted_N is not None:
            # A class that nobody trusts is fitted to as it is.
            known = np.isin(labels_N[fit], np.unique(labels_N[fit][trusted_N[fit]]), invert=True)
            fit = fit[trusted_N[fit] | known]
        weights_FK, offsets_K = _fit(scaled_NF[fit], labels_N[fit], num_classes)
        logits_NK[rest] = scaled_NF[rest] @ weights_FK + offsets_K
    return _tempered(logits_NK, labels_N)


def _fit(features_NF: Doubles, labels_N: Ints, num_classes: int) -> tuple[Doubles, Doubles]:
    counts_K = np.bincount(labels_N, minlength=num_classes).astype(np.float64)
    means_KF = np.zeros((num_classes, features_NF.shape[1]))
    np.add.at(means_KF, labels_N, features_NF)
    means_KF /= np.maximum(counts_K, 1)[:, None]
    within_NF = features_NF - means_KF[labels_N]
    covariance_FF = within_NF.T @ within_NF / len(labels_N)
    mean_variance = max(float(covariance_FF.trace()) / len(covariance_FF), 1e-12)
    covariance_FF *= 1 - SHRINKAGE
    covariance_FF[np.diag_indices_from(covariance_FF)] += SHRINKAGE * mean_variance
    weights_FK: Doubles = np.linalg.solve(covariance_FF, means_KF.T).astype(np.float64)
    offsets_K: Doubles = np.log(np.maximum(counts_K, 1e-9) / counts_K.sum()) - (means_KF.T * weights_FK).sum(axis=0) / 2
    return weights_FK, offsets_K


def _tempered(logits_NK: Doubles, labels_N: Ints) -> Doubles:
    rows = np.arange(len(labels_N))
    losses = [-np.log(_softmax(logits_NK / each)[rows, labels_N].clip(1e-12)).mean() for each in TEMPERATURES]
    return _softmax(logits_NK / TEMPERATURES[int(np.argmin(losses))])


def _softmax(logits_NK: Doubles) -> Doubles:
    exponentials_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
    found: Doubles = exponentials_NK / exponentials_NK.sum(axis=1, keepdims=True)
    return found
