"""One trial: a recipe with the values to try, trained as `imgcls train` does, and given up where others did better."""

import dataclasses
import gc
import time
from pathlib import Path

import torch

from imgcls.datasets.opening import Dataset
from imgcls.datasets.resolving import SPLITS
from imgcls.errors import ConfigError, DataError, DeviceError, ModelError
from imgcls.host.devices import choose_device, is_out_of_memory
from imgcls.recipes.loading import load_recipe
from imgcls.recipes.schema import Recipe
from imgcls.runs.events import EpochEnd, Event, ShouldStop
from imgcls.runs.metrics import read_metrics
from imgcls.runs.result import Score
from imgcls.training.checkpointing.resume import load_saved
from imgcls.training.loss import DivergedError
from imgcls.training.run import train
from imgcls.training.setup.checks import check_device_fits, check_recipe_fits
from imgcls.training.setup.inputs import DownloadProgress, Progress, open_data
from imgcls.tuning.folder import StudyFolder
from imgcls.tuning.results import OnStudyEvent, TrialRecord, TrialStarted, TrialState
from imgcls.tuning.running_trial import RunningTrial
from imgcls.tuning.space import recipe_with

PRUNED = "pruned"
# Trials never see the test images: what is chosen by them can't be measured on them.
SEARCH_SPLITS = tuple(split for split in SPLITS if split != "test")


class OpenImages:
    """The images of the latest trial, kept open for the next one that wants the same.

    Args:
        workers: as for `train`.
        progress: likewise.
        download_progress: likewise.
    """

    def __init__(
        self, workers: int | None, progress: Progress | None, download_progress: DownloadProgress | None
    ) -> None:
        self._workers, self._progress, self._download_progress = workers, progress, download_progress
        self._opened: tuple[str, Dataset] | None = None

    def of(self, recipe: Recipe) -> Dataset:
        """The training and validation images of a resolved recipe; for errors see `open_dataset`."""
        key = f"{recipe.train.seed}/{recipe.data.model_dump_json()}"
        if self._opened is None or self._opened[0] != key:
            # Let go of the former images first: both might not fit into memory.
            self._opened = None
            dataset = open_data(
                recipe,
                splits=SEARCH_SPLITS,
                workers=self._workers,
                progress=self._progress,
                download_progress=self._download_progress,
            )
            self._opened = key, dataset
        return self._opened[1]


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What all trials of a process share.

    Attributes:
        recipe: what every trial begins from, not resolved.
        folder: of the study.
        images: for training and validation.
        device: as `choose_device` takes it.
        on_event: told of the trial's start and of the run's events.
        should_stop: asked after every step; a reason cuts the trial.
        weights_progress: as for `train`.
    """

    recipe: Recipe
    folder: StudyFolder
    images: OpenImages
    device: str
    on_event: OnStudyEvent
    should_stop: ShouldStop
    weights_progress: DownloadProgress | None = None


def run_trial(task: RunningTrial, around: Surroundings) -> TrialRecord | str:
    """Train with a trial's values, or go on where it was cut.

    Returns:
        What it came to, or the reason why it was cut; it can go on later.
    Raises:
        DataError: the images can't be used.
        OutputError: the study or the run can't be written.
    """
    number, started = task.number, time.perf_counter()

    def record(state: TrialState, reason: str = "") -> TrialRecord:
        last = max(task.reported, default=None)
        return TrialRecord(
            number=number,
            state=state,
            values=task.values,
            top1=task.reported[last] if last is not None else None,
            epoch=last,
            seconds=task.seconds,
            reason=reason,
            run=around.folder.existing_run(number),
        )

    if task.same_as is not None:
        reason = f"the same values as trial {task.same_as.number}"
        return dataclasses.replace(task.same_as, number=number, reason=reason, run=None, seconds=0.0)
    try:
        recipe = recipe_with(around.recipe, task.values, origin=f"trial {number}")
        check_recipe_fits(recipe)
        check_device_fits(recipe, choose_device(around.device).device)
    except (ConfigError, ModelError, DeviceError) as exc:
        return record("refused", exc.message)
    dataset = around.images.of(recipe)
    try:
        end = _train(task, recipe, dataset, around)
    except DivergedError as exc:
        # The cause doesn't speak of a checkpoint, which is going to be deleted.
        first = exc.__cause__ if isinstance(exc.__cause__, DivergedError) else exc
        return record("diverged", first.message)
    except ConfigError as exc:
        # Some values show only in the network that they make how badly they go together.
        return record("refused", exc.message)
    except (RuntimeError, MemoryError, ModelError) as exc:
        # Where not even the network fits, it can't be built, and memory is the cause.
        cause = exc.__cause__ if isinstance(exc, ModelError) and exc.__cause__ is not None else exc
        if not is_out_of_memory(cause):
            raise
        return record("out_of_memory", str(cause).splitlines()[0] if str(cause) else "memory ran out")
    except DeviceError as exc:
        return record("refused", exc.message)
    finally:
        task.seconds += time.perf_counter() - started
    if end == PRUNED:
        return record("pruned", f"others did better after epoch {max(task.reported)}")
    if isinstance(end, str):
        return end
    return dataclasses.replace(record("complete"), top1=end.top1, loss=end.loss, epoch=end.epoch)


def _train(task: RunningTrial, recipe: Recipe, dataset: Dataset, around: Surroundings) -> Score | str:
    """The best epoch's score, or the reason why the run was given up (`PRUNED`) or cut."""
    epochs = recipe.train.epochs
    run = around.folder.run_path(task.number)
    done = _epochs_done(run, recipe)
    if run.exists() and done is None:
        around.folder.clear_run(task.number)
    for row in read_metrics(run):
        # A process that is killed may have measured an epoch without telling.
        task.report(row["epoch"], row["top1"])
    around.on_event(TrialStarted(task.number, task.values, epochs=epochs, done_epochs=done or 0))
    last = max(task.reported, default=0)
    is_hopeless = 0 < last < epochs and task.should_be_pruned()
    if is_hopeless:
        return PRUNED
    cut: str | None = None

    def on_event(event: Event) -> None:
        nonlocal is_hopeless
        if isinstance(event, EpochEnd) and event.top1 is not None:
            task.report(event.epoch, event.top1)
            is_hopeless = event.epoch < epochs and task.should_be_pruned()
        around.on_event(event)

    def should_stop() -> str | None:
        nonlocal cut
        if is_hopeless:
            return PRUNED
        cut = cut or around.should_stop()
        return cut

    result = train(
        recipe,
        output=run if done is None else None,
        resume=run if done is not None else None,
        device=around.device,
        on_event=on_event,
        should_stop=should_stop,
        weights_progress=around.weights_progress,
        dataset=dataset,
    )
    # A run that found nothing better for long is complete, whatever the others did.
    if result.stopped is not None and result.stopped in (PRUNED, cut):
        return result.stopped
    assert result.best is not None
    assert result.best.top1 is not None, "the images to validate on were made sure of"
    return result.best


def _epochs_done(run: Path, recipe: Recipe) -> int | None:
    """Where a run can go on; None where it was begun with another recipe, or what it saved can't be read."""
    try:
        if load_recipe(run / "config.toml") != recipe:
            return None
        read_metrics(run)
        return load_saved(run / "last.pt").loop["position"]["epoch"] if (run / "last.pt").exists() else 0
    except (ConfigError, DataError, ModelError):
        return None


def free_memory() -> None:
    """Let go of what a failed run may still hold, in cycles of references or in the allocator of a device.

    Slow, and of no use after others: the network of a run that ended well is gone with its last reference.
    """
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
