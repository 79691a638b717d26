"""What a run consists of while it goes on: its data, device, loop and figures, and what of them is saved."""

import functools
from dataclasses import replace
from typing import Any

import torch

from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.labelled_images import LabelledImages, is_multi_label
from imgcls.datasets.opening import Dataset
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError
from imgcls.host.devices import DeviceChoice
from imgcls.models.answers.multi_label import MultiLabel
from imgcls.models.checkpoint import Checkpoint
from imgcls.models.weights.initial_weights import Start
from imgcls.recipes.schema import Recipe, transform_of
from imgcls.runs.folder import RunFolder
from imgcls.runs.result import Score
from imgcls.training.checkpointing.resume import Saved, check_same_data, moved_warning, restore, resume_state
from imgcls.training.checkpointing.schedule import Checkpointing
from imgcls.training.fine_tuning.phase_setup import PhaseSetup
from imgcls.training.loop import Loop
from imgcls.training.precision import choose_precision
from imgcls.training.setup.building import build_for_training
from imgcls.training.validation import Validation


class SessionState:
    """A run before its first step, or where it was cut.

    Args:
        recipe: resolved.
        dataset: with a train split.
        folder: locked, for the run's files.
        choice: the device.
        start: trained weights to begin with; None for random ones, and for a run that is taken up.
        processes: that train together; each has a session, and calls the same methods at the same time.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        folder: RunFolder,
        choice: DeviceChoice,
        *,
        start: Start | None = None,
        processes: Processes | None = None,
    ) -> None:
        if dataset.train is None:
            raise DataError(f"{recipe.data.source} has no training images", hint="check --data")
        self.recipe, self.dataset, self.folder, self.choice = recipe, dataset, folder, choice
        self.processes = processes or Processes()
        self.device = choice.device
        self.images: LabelledImages = dataset.train
        self.transform = transform_of(recipe)
        self.precision = choose_precision(recipe.train.precision, self.device)
        self.validation = Validation(
            recipe, dataset, transform=self.transform, device=self.device, processes=self.processes
        )
        self.checkpointing = Checkpointing(folder)
        self.best: Score | None = None
        self.last: Score | None = None
        network, self.origin = build_for_training(
            recipe, self.images, transform=self.transform, device=self.device, start=start
        )
        self.moved: str | None = None
        self.start = start
        # What the weights that the run begins with were trained on.
        self._earlier = SeenImages.from_dict(start.images) if start is not None else None
        self._multi_label = MultiLabel.usual(len(dataset.classes)) if is_multi_label(self.images) else None
        # When the run would have begun, had it never been cut.
        self._began = 0.0
        self.loop = Loop(
            PhaseSetup(
                network,
                self.images,
                recipe,
                transform=self.transform,
                device=self.device,
                precision=self.precision,
                processes=self.processes,
            )
        )

    def take_up(self, saved: Saved) -> None:
        """Go on from where a run was cut.

        Raises:
            DataError: the images are others.
            ModelError: what was saved is another run's.
        """
        if self.processes.is_first:
            # Another machine's copy of the images has other times; that it is one, they have compared.
            check_same_data(saved, self.images, self.folder.path)
        restore(self.loop, saved, self.folder.last_path)
        if self.folder.writes:
            self.checkpointing.position = self.loop.position.epoch, self.loop.position.batch
        self.best, self.last, self.origin = saved.best, saved.last, saved.origin
        self.moved = moved_warning(saved, self.device)
        self._earlier = SeenImages.from_dict(saved.images)
        if self._earlier is not None:
            self._earlier = replace(self._earlier, train=self._earlier.train[:0])

    @functools.cached_property
    def seen(self) -> SeenImages:
        """The images behind the weights."""
        none = torch.zeros(0, dtype=torch.int64)
        val = self.dataset.val.fingerprints() if self.dataset.val is not None else none
        earlier = torch.unique(self._earlier.trained) if self._earlier is not None else none
        return SeenImages(self.images.fingerprints(), val, earlier)

    def checkpoint(self, metrics: dict[str, Any], *, resume: bool) -> Checkpoint:
        """The run as it stands.

        Args:
            metrics: of its latest epoch.
            resume: whether it is to go on from there.
        """
        return Checkpoint(
            model_name=self.recipe.model.name,
            model_arguments=self.recipe.to_dict()["model"]["arguments"],
            classes=self.dataset.classes,
            transform=self.transform,
            weights=self.loop.evaluated_network.state_dict(),
            metrics=metrics,
            recipe=self.recipe.to_dict(),
            start=self.origin.to_dict() if self.origin else {},
            images=self.seen.to_dict() if self.folder.writes else {},
            multi_label=self._multi_label,
            resume=resume_state(self.loop, self.images, best=self.best, last=self.last) if resume else {},
        )
