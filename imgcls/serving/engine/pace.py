"""How fast images are answered, from which follows how long one more would wait."""

# Weight of the last interval in the average.
SMOOTHING = 0.05
# Before there is anything to tell.
FIRST_SEC = 0.05
LEAST_SEC = 1.0


class Pace:
    """The mean time between two answers while others wait."""

    def __init__(self) -> None:
        self._interval_sec = 0.0
        self._last: float | None = None

    def count(self, now: float, *, is_busy: bool) -> None:
        """Count an answer.

        Args:
            now: seconds on a clock that never goes back.
            is_busy: whether others wait; the time until a next one that isn't there yet tells nothing.
        """
        if self._last is not None:
            interval = now - self._last
            weight = SMOOTHING if self._interval_sec else 1.0
            self._interval_sec += weight * (interval - self._interval_sec)
        self._last = now if is_busy else None

    def expected_sec(self, num_before: int) -> float:
        """How long so many images will take; before the first answers a guess."""
        return num_before * (self._interval_sec or FIRST_SEC)
