"""How long steps take, and when enough of them were timed."""

import time
from collections.abc import Callable, Sequence

import torch

from imgcls.host.process_memory import synchronize
from imgcls.runs.events import Event, FeatureProgress

# The first steps are slower: memory is taken, kernels are chosen or compiled.
WARMUP_STEPS = 2
MIN_STEPS, MAX_STEPS = 5, 200
# Of timed steps; beyond the second, two steps are enough.
MIN_SEC, MAX_SEC = 1.0, 30.0


class StepClock:
    """Reads the time after every step, and says when that is enough."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._steps: list[float] = []
        self._features: list[tuple[float, int]] = []
        self._last = self._begun = time.perf_counter()
        self._is_feature = False

    def on_event(self, event: Event) -> None:
        """Notes how far a frozen backbone has come on the images."""
        if isinstance(event, FeatureProgress):
            self._features.append((self._now(), event.done))
            self._is_feature = True

    def should_stop(self) -> str | None:
        """Asked after every step, and after every batch of a frozen backbone."""
        now = self._now()
        if not self._is_feature:
            self._steps.append(now - self._last)
        self._last, self._is_feature = now, False
        return "measured" if self.is_enough() else None

    def is_enough(self) -> bool:
        """Whether the figures are good enough."""
        timed = self._steps[WARMUP_STEPS:]
        waited = time.perf_counter() - self._begun
        if not self._steps:
            return len(self._features) > WARMUP_STEPS and waited > 2 * MIN_SEC
        if len(timed) >= MAX_STEPS or (waited > MAX_SEC and len(timed) >= 2):
            return True
        return len(timed) >= MIN_STEPS and sum(timed) >= MIN_SEC

    def step_sec(self, middle: Callable[[Sequence[float]], float]) -> tuple[float | None, float | None]:
        """Of a step, and of the first one."""
        if not self._steps:
            return None, None
        return middle(self._steps[WARMUP_STEPS:] or self._steps[-1:]), self._steps[0]

    def feature_sec(self, num_images: int) -> float | None:
        """For so many images; None where no features are kept."""
        if not self._features:
            return None
        return sec_per_image([(self._begun, 0), *self._features]) * num_images

    def _now(self) -> float:
        synchronize(self._device)
        return time.perf_counter()


def sec_per_image(marks: list[tuple[float, int]]) -> float:
    """From times and numbers of images done, without the first batch if there is another."""
    first = marks[1] if len(marks) > 2 else marks[0]
    (begun, before), (ended, after) = first, marks[-1]
    return (ended - begun) / max(after - before, 1)
