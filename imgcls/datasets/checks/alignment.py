"""Whether two small images show the same thing: moved, flipped, rescaled or encoded anew.

The middle of one is looked for in the other, plain and flipped, at every place that a shift allows; the score is the
correlation of their pixels at the best place. Smooth images (sky, snow) correlate with each other whatever they show:
there the correlation of what remains after blurring counts too, as far as there is such detail.

Shapes: P pairs, T side of a thumbnail, M side of its middle, S shifts in one direction, C channels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from imgcls.images.transform import Floats, Pixels

# A shift of an eighth of the side in each direction.
SHIFT_PX = 4
PAIRS_AT_ONCE = 512
# Weights of red, green and blue in a grey (ITU-R 601-2).
GREY = np.array([0.299, 0.587, 0.114], np.float32)
# Greys that fit worse than this at every place are no copies, whatever their detail.
LEAST_GREY = 0.7
# Detail weaker than this (grey levels, of 255) is what an encoder makes of nothing.
DETAIL_LEVELS = 4.0


def aligned_scores(thumbnails_NTTC: Pixels, pairs: Sequence[tuple[int, int]]) -> Floats:
    """How well the two images of each pair fit onto each other.

    Args:
        thumbnails_NTTC: whole images squashed to squares, uint8.
        pairs: indices of two images each.
    Returns:
        Correlations in [-1, 1], shape (P,); those that are far from a copy are less exact.
    """
    scores = [
        _scores(thumbnails_NTTC, np.array(pairs[start : start + PAIRS_AT_ONCE]))
        for start in range(0, len(pairs), PAIRS_AT_ONCE)
    ]
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)


def _scores(thumbnails_NTTC: Pixels, pairs_P2: np.ndarray[Any, np.dtype[np.int64]]) -> Floats:
    firsts, seconds = (thumbnails_NTTC[pairs_P2[:, side]].astype(np.float32) for side in (0, 1))
    plain, flipped = (_at_best_shift(firsts, each) for each in (seconds, seconds[:, :, ::-1]))
    return np.maximum(plain, flipped)


def _at_best_shift(firsts_PTTC: Floats, seconds_PTTC: Floats) -> Floats:
    """The score where the greys fit best."""
    correlations_PS = _all_shifts(firsts_PTTC @ GREY, seconds_PTTC @ GREY).reshape(len(firsts_PTTC), -1)
    best_P = correlations_PS.argmax(axis=1)
    scores_P: Floats = correlations_PS.max(axis=1)
    likely = np.flatnonzero(scores_P >= LEAST_GREY)
    if len(likely):
        scores_P[likely] = _in_detail(firsts_PTTC[likely], seconds_PTTC[likely], best_P[likely])
    return scores_P


def _in_detail(firsts_PTTC: Floats, seconds_PTTC: Floats, shifts_P: np.ndarray[Any, np.dtype[np.int64]]) -> Floats:
    """The score in colour at one place of each pair."""
    side = firsts_PTTC.shape[1]
    across = np.arange(side - 2 * SHIFT_PX)
    tops, lefts = np.divmod(shifts_P, 2 * SHIFT_PX + 1)
    rows = np.arange(len(firsts_PTTC))[:, None, None]
    place = (rows, (tops[:, None] + across)[:, :, None], (lefts[:, None] + across)[:, None, :])
    middle = slice(SHIFT_PX, side - SHIFT_PX)
    details = (firsts_PTTC - _blurred(firsts_PTTC))[:, middle, middle]
    other_details = (seconds_PTTC - _blurred(seconds_PTTC))[place]
    return _with_detail(_correlation(firsts_PTTC[:, middle, middle], seconds_PTTC[place]), details, other_details)


def _all_shifts(firsts_PTT: Floats, seconds_PTT: Floats) -> Floats:
    """Correlation of the middle of the first with every part of the second of that size, shape (P, S, S)."""
    side = firsts_PTT.shape[1]
    length, shifts = side - 2 * SHIFT_PX, slice(0, 2 * SHIFT_PX + 1)
    middle = firsts_PTT[:, SHIFT_PX:-SHIFT_PX, SHIFT_PX:-SHIFT_PX]
    middle = middle - middle.mean((1, 2), keepdims=True)
    transformed = np.fft.rfft2(middle, s=(side, side)).conj() * np.fft.rfft2(seconds_PTT)
    products = np.fft.irfft2(transformed, s=(side, side))[:, shifts, shifts]
    sums, squares = _window_sums(seconds_PTT, length), _window_sums(seconds_PTT**2, length)
    energies = (
        np.maximum(squares - sums**2 / length**2, 1e-3) * np.maximum((middle**2).sum((1, 2)), 1e-3)[:, None, None]
    )
    found: Floats = (products / np.sqrt(energies)).astype(np.float32)
    return found


def _window_sums(images_PTT: Floats, length: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Sums over every square of that side."""
    sums = np.pad(images_PTT.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(1).cumsum(2)
    below = sums[:, length:] - sums[:, :-length]
    found: np.ndarray[Any, np.dtype[np.float64]] = below[:, :, length:] - below[:, :, :-length]
    return found


def _with_detail(whole_P: Floats, first_PMMC: Floats, second_PMMC: Floats) -> Floats:
    """The correlation of the pixels, and half of it that of the detail where there is enough."""
    levels_P = np.sqrt(np.minimum((first_PMMC**2).mean((1, 2, 3)), (second_PMMC**2).mean((1, 2, 3))))
    weight_P = np.clip(levels_P / DETAIL_LEVELS, 0, 1) / 2
    mixed: Floats = (whole_P * (1 - weight_P) + _correlation(first_PMMC, second_PMMC) * weight_P).astype(np.float32)
    return mixed


def _correlation(first_PMMC: Floats, second_PMMC: Floats) -> Floats:
    """Pearson's, over all pixels and channels of a pair; 0 where one of them is of a single colour."""
    axes = (1, 2, 3)
    first, second = (each - each.mean(axes, keepdims=True) for each in (first_PMMC, second_PMMC))
    both = np.sqrt((first**2).sum(axes) * (second**2).sum(axes))
    found: Floats = np.where(both > 0, (first * second).sum(axes) / np.maximum(both, 1e-6), 0).astype(np.float32)
    return found


def _blurred(images_PTTC: Floats) -> Floats:
    """The mean of each pixel's 3 x 3 neighbours."""
    padded = np.pad(images_PTTC, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    side = images_PTTC.shape[1]
    parts = [padded[:, top : top + side, left : left + side] for top in range(3) for left in range(3)]
    mean: Floats = np.add.reduce(parts) / np.float32(9)
    return mean
