"""How long a run will still take, from the events that it sends."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imgcls.recipes.schema import Recipe
from imgcls.runs.events import EpochEnd, Event, FeatureProgress, Stage, Started, StepProgress

# A forward pass is about a third of a training step (one part forward, two parts backward); used until a validation
# has been timed.
FORWARD_SHARE = 1 / 3


def stages_of(recipe: Recipe, *, total_steps: int) -> tuple[Stage, ...]:
    """The stretches of a run in which images have one size.

    Args:
        recipe: resolved.
        total_steps: of the whole run.
    """
    full_px = recipe.data.image_px or 1
    stages, begun = [], 0
    for until, px in (*recipe.train.resolution, (1.0, full_px)):
        # As the loop chooses: the size holds while step / total_steps < until.
        end = min(math.ceil(until * total_steps), total_steps)
        if end > begun:
            stages.append(Stage(num_steps=end - begun, image_px=px))
            begun = end
    return tuple(stages)


@dataclass
class _Stretch:
    """Work done, in steps at full size, and the seconds that it took."""

    work: float = 0.0
    seconds: float = 0.0


class Pace:
    """Watches a run's events and says how many seconds are left, validation and saving included.

    A step's work is taken to grow with the area of its images, so that a run which begins with small ones isn't
    promised too early an end. What a step costs once a frozen backbone moves can't be known before.

    Args:
        clock: seconds from any point in time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: Started | None = None
        # This epoch's work, and that of those before, of this process only: a resumed run may be on another machine.
        self._now, self._before = _Stretch(), _Stretch()
        self._overhead_sec: float | None = None
        self._mark = 0.0
        self._first_step = self._step = 0
        self._validating = False

    def update(self, event: Event) -> None:
        """Take note of an event, as it comes."""
        if isinstance(event, Started):
            self._started = event
            self._first_step = self._step = event.done_epochs * event.steps_per_epoch + event.done_steps
            self._mark = self._clock()
        elif isinstance(event, FeatureProgress):
            # Done once, before the first step.
            self._mark = self._clock()
        elif isinstance(event, StepProgress):
            self._step = (event.epoch - 1) * event.steps_per_epoch + event.step
            self._now = _Stretch(self._work(self._first_step, self._step), self._clock() - self._mark)
            self._validating = event.step == event.steps_per_epoch
        elif isinstance(event, EpochEnd) and self._started is not None:
            self._end_epoch(self._clock() - self._mark - self._now.seconds)
            if event.epoch == self._started.frozen_epochs:
                self._before, self._overhead_sec = _Stretch(), None
            self._first_step = self._step = event.epoch * self._started.steps_per_epoch
            self._mark = self._clock()
            self._validating = False

    def _end_epoch(self, overhead_sec: float) -> None:
        before, now = self._before, self._now
        # Each epoch counts half as much as the next, so that a machine with ups and downs isn't believed at once.
        self._before = _Stretch(before.work / 2 + now.work, before.seconds / 2 + now.seconds)
        self._now = _Stretch()
        known = overhead_sec if self._overhead_sec is None else self._overhead_sec
        self._overhead_sec = (known + overhead_sec) / 2

    @property
    def left_sec(self) -> float | None:
        """Seconds until the run's end; None while nothing is known."""
        started = self._started
        work = self._now.work + self._before.work
        if started is None or not work:
            return None
        if 0 < started.frozen_epochs < started.epochs and self._step <= started.frozen_epochs * started.steps_per_epoch:
            return None
        sec_per_work = (self._now.seconds + self._before.seconds) / work
        training = self._work(self._step, self._total) * sec_per_work
        per_image = sec_per_work * started.steps_per_epoch / max(started.num_train, 1) * FORWARD_SHARE
        if self._overhead_sec is not None and started.num_val:
            per_image = self._overhead_sec / started.num_val
        overhead = per_image * started.num_val if self._overhead_sec is None else self._overhead_sec
        epochs_left = started.epochs - self._step // started.steps_per_epoch + self._validating
        left = training + epochs_left * overhead + started.num_test * per_image
        if self._validating:
            left -= min(self._clock() - self._mark - self._now.seconds, overhead)
        return left

    @property
    def _total(self) -> int:
        return self._started.steps_per_epoch * self._started.epochs if self._started else 0

    def _work(self, first: int, last: int) -> float:
        """Of the steps first to last - 1 of the run, in steps at full size."""
        assert self._started is not None
        return work_between(self._started.stages, first, last)


def work_between(stages: Sequence[Stage], first: int, last: int) -> float:
    """The work of the steps first to last - 1, in steps at the largest size."""
    full_px = max((stage.image_px for stage in stages), default=1)
    work, begun = 0.0, 0
    for stage in stages:
        end = begun + stage.num_steps
        work += max(min(end, last) - max(begun, first), 0) * (stage.image_px / full_px) ** 2
        begun = end
    return work
