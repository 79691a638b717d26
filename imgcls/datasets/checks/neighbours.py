"""Pairs of images that may be copies of each other: close in a network's features, or in a perceptual hash.

Shapes: N images, F features, B bits of a hash.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from imgcls.images.transform import Floats, Pixels

# Neighbours of each image that are looked at, and how close they must be. Copies are among the first.
NEIGHBOURS = 8
LEAST_COSINE = 0.5
# What the features are reduced to before they are compared with each other: the directions in which they vary most.
REDUCED = 128
ROWS_AT_ONCE = 2048
# Of 64 bits, how many may differ between an image and its copy.
HASH_BITS = 10

Bools = np.ndarray[Any, np.dtype[np.bool_]]


def near_by_features(features_NF: Floats) -> set[tuple[int, int]]:
    """Each image and its nearest in the features' cosine, the lower index first."""
    reduced_NF = _reduced(features_NF)
    pairs: set[tuple[int, int]] = set()
    count = min(NEIGHBOURS + 1, len(reduced_NF))
    for start, similar in _products(reduced_NF, reduced_NF):
        nearest = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        rows, places = np.nonzero(np.take_along_axis(similar, nearest, axis=1) >= LEAST_COSINE)
        for row, other in zip((rows + start).tolist(), nearest[rows, places].tolist(), strict=True):
            if row != other:
                pairs.add((min(row, other), max(row, other)))
    return pairs


def near_by_hash(thumbnails_NTTC: Pixels) -> set[tuple[int, int]]:
    """Pairs whose perceptual hashes differ in few bits, plain or flipped, the lower index first.

    Raises:
        ImportError: imagehash isn't installed.
    """
    plain_NB, flipped_NB = (_hashes(images) for images in (thumbnails_NTTC, thumbnails_NTTC[:, :, ::-1]))
    pairs: set[tuple[int, int]] = set()
    least = plain_NB.shape[1] - 2 * HASH_BITS
    for others_NB in (plain_NB, flipped_NB):
        for start, agreement in _products(plain_NB, others_NB):
            for row, other in np.argwhere(agreement >= least).tolist():
                if row + start != other:
                    pairs.add((min(row + start, other), max(row + start, other)))
    return pairs


def _hashes(thumbnails_NTTC: Pixels) -> Floats:
    """Perceptual hashes (of the lowest frequencies), a bit as -1 or 1, so that a product counts the agreement."""
    import imagehash

    bits = [imagehash.phash(Image.fromarray(np.ascontiguousarray(each))).hash.ravel() for each in thumbnails_NTTC]
    return np.where(np.stack(bits), 1, -1).astype(np.float32)


def _products(rows_NF: Floats, others_NF: Floats) -> Iterator[tuple[int, Floats]]:
    for start in range(0, len(rows_NF), ROWS_AT_ONCE):
        product: Floats = rows_NF[start : start + ROWS_AT_ONCE] @ others_NF.T
        yield start, product


def _reduced(features_NF: Floats) -> Floats:
    """Centred, in their principal directions, each row of length 1."""
    centred = features_NF - features_NF.mean(axis=0)
    if centred.shape[1] > REDUCED:
        _values, vectors = np.linalg.eigh(centred.T @ centred)
        centred = centred @ vectors[:, -REDUCED:]
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: Floats = (centred / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
