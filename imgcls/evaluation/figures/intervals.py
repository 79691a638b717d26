"""Intervals that hold a figure of the population in 95 of 100 samples."""

import math
from typing import NamedTuple

LEVEL = 0.95
# The normal distribution's quantile at 0.975.
Z = 1.959963984540054


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float


def wilson_interval(num_right: int, count: int) -> Interval:
    """For a share that was counted, such as an accuracy; never empty and never beyond 0 and 1.

    Args:
        num_right: how many of them.
        count: how many in all, at least 1.
    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if count < 1 or not 0 <= num_right <= count:
        raise ValueError(f"{num_right} of {count} is no share")
    share = num_right / count
    centre = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    # Rounding must not leave the share itself outside.
    return Interval(
        0.0 if num_right == 0 else max(centre - half, 0.0), 1.0 if num_right == count else min(centre + half, 1.0)
    )
