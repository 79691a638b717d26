"""A curve in one line of text."""

import math
from collections.abc import Sequence
from itertools import pairwise

LEVELS = "▁▂▃▄▅▆▇█"
# A run may have 100,000 epochs, and a terminal shows a few hundred columns.
CAPACITY = 512


class Curve:
    """Values as they come, of which only means over equal stretches are kept once there are many."""

    def __init__(self) -> None:
        self._means: list[float] = []
        self._stretch = 1
        self._pending: list[float] = []

    def add(self, value: float) -> None:
        """Take the next value; what isn't finite is left out."""
        if not math.isfinite(value):
            return
        self._pending.append(value)
        if len(self._pending) < self._stretch:
            return
        self._means.append(sum(self._pending) / len(self._pending))
        self._pending.clear()
        if len(self._means) == CAPACITY:
            pairs = zip(self._means[::2], self._means[1::2], strict=True)
            self._means = [(first + second) / 2 for first, second in pairs]
            self._stretch *= 2

    def draw(self, width: int) -> str:
        """At most `width` characters, the lowest value at the bottom and the highest at the top."""
        return sparkline([*self._means, *self._pending[-1:]], width)


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as blocks of different heights; more values than `width` are averaged.

    Args:
        values: finite.
        width: characters at most.
    """
    count = min(len(values), width)
    if count <= 0:
        return ""
    edges = [round(index * len(values) / count) for index in range(count + 1)]
    means = [sum(values[first:last]) / (last - first) for first, last in pairwise(edges)]
    low, high = min(means), max(means)
    if high == low:
        return LEVELS[len(LEVELS) // 2] * count
    scale = (len(LEVELS) - 1) / (high - low)
    return "".join(LEVELS[round((mean - low) * scale)] for mean in means)
