"""The learning rate of each step: warm-up, then one-cycle, cosine, linear, step or constant."""

import math

from imgcls.recipes.optimization import ScheduleSettings

# torch.optim.lr_scheduler.OneCycleLR's own defaults.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START * 1e-4


def rate_factor(step: int, total: int, schedule: ScheduleSettings) -> float:
    """The learning rate of a step as a fraction of its peak.

    Args:
        step: 0 for the first, total - 1 for the last.
        total: steps of the whole run.
        schedule: the recipe's [schedule].
    Returns:
        More than 0 and at most 1.
    Source: one-cycle is Smith and Topin 2017 as torch.optim.lr_scheduler.OneCycleLR computes it.
    """
    if schedule.shape == "one-cycle":
        return _one_cycle(step, total, schedule.warmup)
    warm_steps = schedule.warmup * total
    if step + 1 < warm_steps:
        return (step + 1) / warm_steps
    if schedule.shape == "step":
        return schedule.factor ** sum(step >= milestone * total for milestone in schedule.milestones)
    done = max(step - warm_steps, 0.0) / (total - warm_steps)
    if schedule.shape == "linear":
        shape = 1 - done
    elif schedule.shape == "cosine":
        shape = (1 + math.cos(math.pi * done)) / 2
    else:
        return 1.0
    return schedule.final + (1 - schedule.final) * shape


def _one_cycle(step: int, total: int, warmup: float) -> float:
    top = warmup * total - 1
    if step <= top and top > 0:
        return _cosine_between(ONE_CYCLE_START, 1.0, step / top)
    if total - 1 <= max(top, 0):
        return 1.0
    return _cosine_between(1.0, ONE_CYCLE_END, (step - max(top, 0)) / (total - 1 - max(top, 0)))


def _cosine_between(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
