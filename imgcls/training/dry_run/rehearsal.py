"""A few steps of everything that a run will do, to know beforehand whether it works, how long it takes and how much
memory; nothing is left behind."""

import contextlib
import gc
import shutil
import tempfile
import time
from pathlib import Path
from statistics import fmean, median

import torch

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.datasets.opening import Dataset
from imgcls.datasets.streamed import StreamedImages
from imgcls.datasets.subset import SomeImages
from imgcls.host.devices import DeviceChoice, choose_device
from imgcls.host.process_memory import (
    peak_device_bytes,
    peak_host_bytes,
    reset_peak_device_bytes,
    synchronize,
    total_device_bytes,
)
from imgcls.host.resources import read_memory
from imgcls.models.checkpoint import load_checkpoint, save_checkpoint
from imgcls.models.weights.initial_weights import Start
from imgcls.recipes.resolving import resolve_recipe
from imgcls.recipes.schema import Recipe
from imgcls.runs.events import Event
from imgcls.runs.folder import RUNS, RunFolder
from imgcls.runs.new_folder import refuse_filled
from imgcls.training.dry_run.report import DryRun, StepKind
from imgcls.training.dry_run.step_clock import StepClock, sec_per_image
from imgcls.training.precision import deterministic_algorithms
from imgcls.training.reporting import describe_start
from imgcls.training.rng import forked_rng
from imgcls.training.session import Session
from imgcls.training.setup.checks import check_data_fits, check_device_fits, check_recipe_fits
from imgcls.training.setup.inputs import DownloadProgress, Progress, open_data, open_start
from imgcls.training.step import explained_out_of_memory
from imgcls.training.validation import Validation

# Validation is measured on so many batches, the first of which warms up.
VALIDATION_BATCHES = 3


def dry_run(
    recipe: Recipe,
    *,
    output: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress | None = None,
    download_progress: DownloadProgress | None = None,
    weights_progress: DownloadProgress | None = None,
) -> DryRun:
    """Open the data, build everything, make a few steps of each kind, validate, and write and read checkpoints.

    Args:
        recipe: as for `train`.
        output: where the run would be; None for a folder in `runs`.
        device: as for `train`.
        workers: as for `train`.
        progress: as for `train`.
        download_progress: as for `train`.
        weights_progress: as for `train`.
    Raises:
        ImgclsError: what `train` would raise.
    """
    recipe = resolve_recipe(recipe)
    choice = choose_device(device)
    check_recipe_fits(recipe)
    check_device_fits(recipe, choice.device)
    if output is not None:
        refuse_filled(output)
    start = open_start(recipe, progress=weights_progress)
    dataset = open_data(recipe, workers=workers, progress=progress, download_progress=download_progress)
    check_data_fits(recipe, dataset)
    exact = deterministic_algorithms(choice.device) if recipe.train.deterministic else contextlib.nullcontext()
    reset_peak_device_bytes(choice.device)
    with (
        tempfile.TemporaryDirectory(prefix="imgcls-") as temporary,
        RunFolder.create(Path(temporary) / "run", name="dry") as folder,
        explained_out_of_memory(recipe, choice.device),
        forked_rng(choice.device),
        exact,
    ):
        return _Rehearsal(recipe, dataset, folder, choice, start).perform(_existing_parent(output or RUNS))


class _Rehearsal:
    """The parts of a dry run; see `dry_run`."""

    def __init__(
        self, recipe: Recipe, dataset: Dataset, folder: RunFolder, choice: DeviceChoice, start: Start | None
    ) -> None:
        self.recipe, self.dataset, self.folder, self.choice, self.start = recipe, dataset, folder, choice, start

    def perform(self, place: Path) -> DryRun:
        """All of them.

        Args:
            place: on the disk that the run's folder would be on.
        """
        session = self._session(self.recipe)
        started, loop = describe_start(session), session.loop
        frozen_steps = started.frozen_epochs * started.steps_per_epoch
        wanted: dict[tuple[bool, int], int] = {}
        step = 0
        for stage in started.stages:
            for frozen, first, last in ((True, 0, frozen_steps), (False, frozen_steps, loop.total_steps)):
                count = min(step + stage.num_steps, last) - max(step, first)
                if count > 0:
                    wanted[frozen, stage.image_px] = wanted.get((frozen, stage.image_px), 0) + count
            step += stage.num_steps
        del session, loop
        kinds: dict[tuple[bool, int], StepKind] = {}
        # What needs most memory comes first, so that it is the first to say that there is too little.
        for frozen, px in sorted(wanted, key=lambda kind: (kind[0], -kind[1])):
            session = self._session(self._recipe_for(px, frozen=frozen))
            kinds[frozen, px] = self._time_steps(session, num_steps=wanted[frozen, px])
            if len(kinds) == 1:
                # After its first steps, so that the optimisers have all that they keep.
                validation_sec = self._time_validation(session, self.dataset.validation)
                last_bytes, best_bytes, saving_sec = self._save_and_load(session)
            del session
        test = self.dataset.test
        per_image = validation_sec / len(self.dataset.validation) if validation_sec and self.dataset.validation else 0.0
        return DryRun(
            started=started,
            batch_size=self.recipe.train.batch_size,
            kinds=tuple(kinds[key] for key in wanted),
            validation_sec=validation_sec,
            test_sec=per_image * len(test) if test is not None else None,
            saving_sec=saving_sec,
            last_bytes=last_bytes,
            best_bytes=best_bytes,
            free_bytes=shutil.disk_usage(place).free,
            host_peak_bytes=peak_host_bytes(),
            host_total_bytes=read_memory().total_bytes,
            device_peak_bytes=peak_device_bytes(self.choice.device),
            device_total_bytes=total_device_bytes(self.choice.device),
        )

    def _session(self, recipe: Recipe) -> Session:
        # The last one's weights and gradients would count as memory that this one needs.
        gc.collect()
        return Session(recipe, self.dataset, self.folder, self.choice, start=self.start)

    def _recipe_for(self, px: int, *, frozen: bool) -> Recipe:
        """A recipe of nothing but one kind of steps."""
        train, finetune = self.recipe.train, self.recipe.finetune
        # Even at full size a rising resolution keeps a frozen backbone's features from being kept.
        resolution = ((1.0, px),) if train.resolution else ()
        return self.recipe.model_copy(
            update={
                "finetune": finetune.model_copy(update={"freeze": frozen, "head_epochs": 0}),
                "train": train.model_copy(update={"resolution": resolution}),
            }
        )

    def _time_steps(self, session: Session, *, num_steps: int) -> StepKind:
        recipe, clock = session.recipe, StepClock(self.choice.device)
        loop, decodes_ahead = session.loop, isinstance(session.images, StreamedImages)
        while loop.position.epoch < recipe.train.epochs:
            summary = loop.run_epoch(clock.on_event, clock.should_stop)
            if isinstance(summary, str):
                break
            if summary is None:
                # A run would save its state here.
                continue
            # After an epoch's last step nobody asks whether to stop.
            clock.should_stop()
            if clock.is_enough():
                break
        step_sec, first_sec = clock.step_sec(fmean if decodes_ahead else median)
        return StepKind(
            image_px=describe_start(session).stages[0].image_px,
            frozen=recipe.finetune.freeze,
            num_steps=num_steps,
            step_sec=step_sec,
            first_sec=first_sec,
            feature_sec=clock.feature_sec(len(session.images)),
        )

    def _time_validation(self, session: Session, images: LabelledImages | None) -> float | None:
        if images is None:
            return None
        size = self.recipe.train.eval_batch_size or 1
        some = SomeImages(images, torch.arange(min(VALIDATION_BATCHES * size, len(images))))
        validation = Validation(
            self.recipe,
            Dataset(images.classes, val=some),
            transform=session.transform,
            device=self.choice.device,
            processes=session.processes,
        )
        marks = [(time.perf_counter(), 0)]

        def mark(event: Event) -> None:
            synchronize(self.choice.device)
            marks.append((time.perf_counter(), getattr(event, "done", 0)))

        validation.validate(session.loop.evaluated_network, mark)
        return sec_per_image(marks) * len(images)

    def _save_and_load(self, session: Session) -> tuple[int, int, float]:
        begun = time.perf_counter()
        save_checkpoint(session.checkpoint({}, resume=True), self.folder.last_path)
        save_checkpoint(session.checkpoint({}, resume=False), self.folder.best_path)
        took = time.perf_counter() - begun
        load_checkpoint(self.folder.last_path)
        return self.folder.last_path.stat().st_size, self.folder.best_path.stat().st_size, took


def _existing_parent(path: Path) -> Path:
    path = path.absolute()
    return next(parent for parent in (path, *path.parents) if parent.exists())
