"""What a run tells whoever watches it, and what it returns at the end."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imgcls.datasets.labelled_images import SkippedImage
from imgcls.models.weights.initial_weights import Origin
from imgcls.runs.result import Score, without_map


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of a run in which images have one size.

    Attributes:
        num_steps: how long.
        image_px: side of the square that the network sees.
    """

    num_steps: int
    image_px: int


@dataclass(frozen=True, slots=True)
class Started:
    """Data and network are ready, and the first step comes next.

    Attributes:
        run: the run's folder.
        model: the network's name.
        origin: where its first weights came from; None for random ones.
        num_parameters: that are trained at some time.
        frozen_epochs: at the start, in which the head alone is trained.
        changing: settings by which images differ from epoch to epoch, so that a frozen backbone runs at every step.
        num_classes: of the data.
        num_train, num_val, num_test: images; no validation, or no test at the end, if 0.
        validates_on: `val`; `test` where that stands in, and nothing is chosen by it; None without validation.
        epochs, steps_per_epoch: of the whole run.
        stages: the sizes of the images, over all steps of the run.
        done_epochs, done_steps: where a resumed run goes on; done_steps counts within its epoch.
        device: such as `cuda:0`.
        reason: why that device.
        num_processes: that train together, each on its own device.
        precision: `fp32`, `bf16` or `fp16`.
        skipped: damaged files found so far.
        warnings: what there is to say about the data set, its classes, and a run that goes on on another machine.
        remarks: what was stripped or left out of the weights that it begins with.
        is_multi_label: whether images have several labels, so that mAP counts in the place of top-1.
    """

    run: Path
    model: str
    origin: Origin | None
    num_parameters: int
    frozen_epochs: int
    changing: tuple[str, ...]
    num_classes: int
    num_train: int
    num_val: int
    num_test: int
    validates_on: str | None
    epochs: int
    steps_per_epoch: int
    stages: tuple[Stage, ...]
    done_epochs: int
    done_steps: int
    device: str
    reason: str
    num_processes: int
    precision: str
    skipped: tuple[SkippedImage, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    is_multi_label: bool = False


@dataclass(frozen=True, slots=True)
class FeatureProgress:
    """A frozen backbone has been run on some of the images, whose features are kept for all epochs.

    Attributes:
        done: images so far.
        total: in all.
    """

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Some steps are done; sent a few times a second at most.

    Attributes:
        epoch: counted from 1.
        step: done in this epoch.
        steps_per_epoch: in all.
        loss: mean over this epoch's images so far.
        lr: learning rate of the last step.
        images_per_sec: of this epoch.
    """

    epoch: int
    step: int
    steps_per_epoch: int
    loss: float
    lr: float
    images_per_sec: float


@dataclass(frozen=True, slots=True)
class Measuring:
    """Some images have been validated on, or tested; sent after every batch of them.

    Attributes:
        split: which images, `val` or `test`; after the last epoch, the test of the best one.
        done, total: images.
    """

    split: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """An epoch is done and measured; a line of metrics.jsonl.

    Attributes:
        epoch: counted from 1.
        step: steps since the run began.
        lr: learning rate of the last step.
        train_loss: mean over the epoch's images, as they were augmented.
        split: of the images that are validated on: `val`, or `test` where that stands in; None without any.
        loss, top1, top5: on these images; None without any.
        seconds: of training, without validation.
        images_per_sec: of training.
        images: images trained on since the run began.
        validation_sec: that measuring took; None without validation images.
        elapsed_sec: since the run began, with validation and saving; without the time that a cut run lay still.
        train_top1: of the training images, as they were augmented, while the weights moved; None where mixup, CutMix or
            several labels leave no image with one class.
        map: mean average precision on the images that are validated on, where they have several labels: then top1 and
            top5 are None. Else it is None, and not written.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    split: str | None
    loss: float | None
    top1: float | None
    top5: float | None
    seconds: float
    images_per_sec: float
    images: int
    validation_sec: float | None
    elapsed_sec: float
    train_top1: float | None = None
    map: float | None = None

    @property
    def score(self) -> "Score":
        """What chooses best.pt."""
        return Score(self.epoch, self.top1, self.loss, self.map)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return without_map(asdict(self))


Event = Started | FeatureProgress | StepProgress | Measuring | EpochEnd
OnEvent = Callable[[Event], None]
# Asked after every step: None to go on, else the reason to stop, such as `SIGINT`.
ShouldStop = Callable[[], str | None]
