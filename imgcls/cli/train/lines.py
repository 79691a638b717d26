"""What is said about a training run, line by line."""

import shlex
from typing import Any

from imgcls.evaluation.guesses import TOP_K
from imgcls.host.terminal_text import counted
from imgcls.models.weights.initial_weights import Origin
from imgcls.runs.events import EpochEnd, Started
from imgcls.runs.result import Score, TrainResult
from imgcls.training.early_stopping import EARLY, MAX_TIME


def started_lines(event: Started, *, verbose: bool = False, run: bool = True) -> list[str]:
    """What is about to happen.

    Args:
        event: of the run's start.
        verbose: say more.
        run: name the run's folder.
    """
    lines = [
        f"{event.model}: {event.num_parameters:,} parameters, {counted(event.num_classes, 'class', plural='classes')}, "
        f"{counted(event.num_train, 'training image')}, {counted(event.num_val, 'validation image')}",
        *([_origin_line(event.origin, event.num_classes)] if event.origin is not None else []),
        f"on {event.device} ({event.reason}), {event.precision}" + (f"; run folder: {event.run}" if run else ""),
    ]
    if event.num_processes > 1:
        lines.append(_processes_line(event))
    if event.frozen_epochs:
        lines.append(_frozen_line(event))
    if event.validates_on == "test":
        lines.append("no validation images: accuracy is measured on the test images, and the last epoch is kept")
    if event.validates_on is None:
        lines.append("no validation images: the last epoch is kept")
    if event.done_epochs or event.done_steps:
        lines.append(f"continues after epoch {event.done_epochs}, step {event.done_steps} of the next")
    if verbose:
        lines += event.remarks
        lines.append(f"{counted(event.epochs, 'epoch')} of {counted(event.steps_per_epoch, 'step')}")
    return lines


def _processes_line(event: Started) -> str:
    text = f"{event.num_processes} processes share every batch"
    if not event.device.startswith("cpu"):
        return text
    from torch import get_num_threads

    # torchrun leaves each process one thread, which is rarely what a machine of many cores needs.
    return f"{text}; threads of each: {get_num_threads()} (OMP_NUM_THREADS)"


def _origin_line(origin: Origin, num_classes: int) -> str:
    head = (
        "with its head, the classes being the same"
        if origin.kept_head
        else f"new head for {counted(num_classes, 'class', plural='classes')}"
    )
    return f"begins with {origin.weights} ({origin.model}@{origin.weights_sha256[:12]}), {head}"


def _frozen_line(event: Started) -> str:
    until_the_end = event.frozen_epochs >= event.epochs
    text = "the backbone is frozen" + ("" if until_the_end else f" up to epoch {event.frozen_epochs}")
    if event.changing:
        verb = "changes" if len(event.changing) == 1 else "change"
        return f"{text}, but runs at every step: {' and '.join(event.changing)} {verb} the images"
    return f"{text}, and runs once on every image"


def epoch_line(event: EpochEnd, started: Started, *, left_sec: float | None = None) -> str:
    """An epoch's figures in one line that says what each of them is."""
    width = len(str(started.epochs))
    parts = [f"epoch {event.epoch:>{width}}/{started.epochs}", f"train loss {event.train_loss:.4f}"]
    score = event.score
    if score.main is not None and event.loss is not None:
        parts += [f"{started.validates_on} loss {event.loss:.4f}", f"{score.name} {score.main:7.2%}"]
    parts += [f"lr {event.lr:.2e}", f"{event.seconds:.1f} s", f"{event.images_per_sec:,.0f} images/s"]
    if left_sec is not None and event.epoch < started.epochs:
        parts.append(f"{clock(left_sec)} left")
    return "   ".join(parts)


def summary_lines(result: TrainResult) -> list[str]:
    """The answer for people."""
    run = shlex.quote(str(result.run))
    lines = [f"run       {result.run}"]
    if result.best is not None:
        lines.append(f"best      {score_text(result.best)}")
    if result.last is not None and result.last != result.best:
        lines.append(f"last      {score_text(result.last)}")
    if result.test is not None:
        lines.append(f"test      {_test_text(result.test)}")
    if result.data.get("modified"):
        lines.append("data      CIFAR-10 with other files than the published ones")
    lines.append(
        f"training  {counted(result.epochs, 'epoch')} in {result.train_sec:.1f} s, "
        f"{result.images_per_sec:,.0f} images/s on {result.device} ({result.precision}), seed {result.seed}"
    )
    if result.stopped == EARLY and result.best is not None:
        lines.append(f"stopped   early: no improvement since epoch {result.best.epoch}")
    if result.skipped:
        lines.append(f"skipped   {counted(len(result.skipped), 'damaged image')}")
    if result.stopped == MAX_TIME:
        return [
            *lines,
            "stopped   by --max-time; all is saved",
            f"next      {command_for(result)} train --resume {run}",
        ]
    measured = result.last is not None and result.last.main is not None
    held_out = "" if measured else " --data DIR, with images that it wasn't trained on"
    return [*lines, f"next      imgcls eval {run}{held_out}", f"          imgcls predict -m {run} image.jpg"]


def command_for(result: TrainResult) -> str:
    """What goes on with a run as it was started; of torchrun's own options nobody knows but the user."""
    return "imgcls" if result.num_processes == 1 else "torchrun ... -m imgcls"


def score_text(score: Score) -> str:
    """An epoch's score in words."""
    if score.main is None or score.loss is None:
        return f"epoch {score.epoch}"
    return f"epoch {score.epoch}: {score.name} {score.main:.2%}, loss {score.loss:.4f}"


def _test_text(test: dict[str, Any]) -> str:
    if "map" in test:
        share = "-" if test["map"] is None else f"{test['map']:.2%}"
        return f"mAP {share} on {counted(test['count'], 'image')}, loss {test['loss']:.4f}"
    # Of five classes or fewer the first five guesses are always right.
    top5 = f"top-5 {test['top5']:.2%}, " if test["num_classes"] > TOP_K else ""
    right = f"{test['correct']:,} of {test['count']:,}"
    return f"top-1 {test['top1']:.2%} ({right}), {top5}loss {test['loss']:.4f}"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds; days where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
