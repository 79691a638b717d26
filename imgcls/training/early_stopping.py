"""When a run ends before its last epoch by its own rules: its time is up, or nothing gets better any more."""

import time

from imgcls.runs.events import ShouldStop
from imgcls.runs.result import Score

# What `TrainResult.stopped` says. A run whose time is up goes on with --resume; one that stopped early is complete.
MAX_TIME = "max-time"
EARLY = "early"


def or_after(should_stop: ShouldStop, max_sec: float | None) -> ShouldStop:
    """The same question, with `max-time` for an answer once the seconds, counted from now, are over.

    It is asked after a step, so that a run makes progress however short its time is.
    """
    if max_sec is None:
        return should_stop
    deadline = time.monotonic() + max_sec
    return lambda: should_stop() or (MAX_TIME if time.monotonic() >= deadline else None)


def but_for_time(should_stop: ShouldStop) -> ShouldStop:
    """The same question, deaf to `max-time`: for work before a step that a resumed run would have to do anew.

    A run whose time is shorter than that would never get to its first step.
    """

    def other_reason() -> str | None:
        reason = should_stop()
        return None if reason == MAX_TIME else reason

    return other_reason


def is_out_of_patience(best: Score | None, last: Score | None, *, patience: int, since: int = 0) -> bool:
    """Whether so many epochs went by without a better one; never if `patience` is 0.

    Epochs up to `since` don't count: those in which the head alone is trained are only a beginning. It depends on
    nothing but the scores, which a run that is resumed knows too.

    Source: Prechelt 1998, "Early stopping - but when?": the criterion UP, on the figure that chooses best.pt.
    """
    return patience > 0 and best is not None and last is not None and last.epoch - max(best.epoch, since) >= patience
