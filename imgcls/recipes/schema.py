"""The recipe of a training run: every setting with its meaning, its range and its default.

A recipe is TOML, one table a section. What is left out takes the default that stands here; `None` means that the value
follows from the data and the model (`resolve_recipe`), so that a saved recipe holds numbers only.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, field_validator, model_validator

from imgcls.images.transform import Transform
from imgcls.images.transform_values import Interpolation, Resize, parse_colour

# TOML has arrays, not tuples; without this, strict validation would refuse them.
Byte = Annotated[int, Field(ge=0, le=255)]
RGB = Annotated[tuple[float, float, float], Strict(False)]
Colour = Annotated[tuple[Byte, Byte, Byte], Strict(False)]
Stage = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], Annotated[int, Field(ge=8)]], Strict(False)]
Fractions = Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Strict(False)]
Stages = Annotated[tuple[Stage, ...], Strict(False)]


class Section(BaseModel):
    """A table of the recipe: unknown keys are errors, `true` is no number, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ModelSettings(Section):
    """[model]: which network, and what it begins with; random weights unless told otherwise."""

    name: str = Field(
        default="cnn",
        min_length=1,
        description="mlp, cnn, a name that 'imgcls models' lists, timm/NAME, or a trained model to begin with",
    )
    pretrained: bool | str = Field(
        default=False, description='begin with published weights: true, or which, such as "IMAGENET1K_V1"'
    )
    weights: str = Field(
        default="", description="begin with these: a state_dict, a checkpoint, a run's folder or a bundled model"
    )
    labels: str = Field(
        default="",
        description="a file of the class names of model.weights, a plain state_dict: where they are those of the data, "
        "its head is kept",
    )
    ema: bool = Field(default=False, description="take the EMA that the file of model.weights holds")
    arguments: dict[str, Any] | None = Field(default=None, description="keyword arguments of the network's builder")

    @field_validator("pretrained", mode="before")
    @classmethod
    def _yes_or_which(cls, value: Any) -> Any:
        if not isinstance(value, (bool, str)):
            raise ValueError(f"model.pretrained = {value!r} must be true, false or the name of published weights")
        return value


class DataSettings(Section):
    """[data]: which images, and the one preprocessing that stays with the model."""

    source: str = Field(default="", description="cifar10, or a folder of class folders")
    image_px: int | None = Field(
        default=None,
        ge=8,
        le=1024,
        description="side of the square that the network sees; [height, width] where it is no square",
    )
    image_width_px: int | None = Field(
        default=None, ge=8, le=1024, description="the width in image_px = [height, width], as a saved recipe has it"
    )
    resize: Resize | None = Field(
        default=None,
        description="how images of another shape are fitted: crop cuts the borders off, squash distorts, pad shows all "
        "within borders; crop by default",
    )
    resize_px: int | None = Field(
        default=None, ge=8, le=2048, description="shorter side before the centre is cut; image_px by default"
    )
    pad_rgb: Colour | None = Field(default=None, description="colour of borders, 0 to 255 each; black by default")
    mean: RGB | None = Field(
        default=None, description="subtracted from red, green and blue, on the scale where white is 1"
    )
    std: RGB | None = Field(default=None, description="divides red, green and blue after that")
    interpolation: Interpolation | None = Field(
        default=None, description="filter of the resize, as Pillow names it; bilinear by default"
    )
    background: str | None = Field(
        default=None,
        description="what lies behind transparent images: white, black or #rrggbb; left out: the colours that the file "
        "has below its transparency",
    )
    depth_bits: int | None = Field(
        default=None,
        ge=1,
        le=32,
        description="bits that deep grey images use, such as 12 in files of 16; left out: what each file says",
    )
    val_fraction: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="share of the training images kept for validation; left out: the data set's own rule",
    )
    allow_modified: bool = Field(
        default=False, description="take CIFAR-10 files whose checksums are not the published ones"
    )
    strict: bool = Field(default=False, description="refuse damaged images instead of skipping them")

    @field_validator("background")
    @classmethod
    def _colour(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_colour(value)
            except ValueError as exc:
                raise ValueError(f"data.background = {exc}") from exc
        return value

    @model_validator(mode="before")
    @classmethod
    def _height_and_width(cls, values: Any) -> Any:
        size = values.get("image_px") if isinstance(values, dict) else None
        if not isinstance(size, (list, tuple)):
            return values
        if len(size) != 2:
            raise ValueError(f"data.image_px = {size!r} must be one side, or [height, width]")
        height, width = size
        return {**values, "image_px": height, "image_width_px": None if width == height else width}


class OptimSettings(Section):
    """[optim]: the optimizer."""

    name: Literal["sgd", "adamw", "muon"] = Field(
        default="adamw", description="sgd (momentum), adamw, or muon for matrices and filters with adamw for the rest"
    )
    lr: float = Field(default=1e-3, gt=0, le=100, description="learning rate at the schedule's peak")
    rest_lr: float = Field(
        default=1e-3, gt=0, le=100, description="with muon: peak rate of what adamw moves (norms, biases, last layer)"
    )
    weight_decay: float = Field(
        default=0.01, ge=0, le=10, description="pull towards zero; norms and biases are left out"
    )
    rest_weight_decay: float = Field(default=0.0, ge=0, le=10, description="with muon: the pull on what adamw moves")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd and muon; beta1 of adamw")
    beta2: float = Field(default=0.999, gt=0, lt=1, description="adamw's memory of squared gradients")
    nesterov: bool = Field(default=True, description="look one step ahead (sgd and muon)")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of the target spread over all classes")
    grad_clip: float = Field(default=0.0, ge=0, description="largest norm of the gradient; 0 leaves it alone")
    class_weights: Literal["off", "balanced"] = Field(
        default="off",
        description="balanced: images count N / (K n) in the loss, n of N being of their class, one of K, so that "
        "small classes of an uneven folder aren't lost",
    )


class FinetuneSettings(Section):
    """[finetune]: how a network that begins with trained weights is trained on."""

    freeze: bool = Field(
        default=False, description="train the head alone; the backbone and its batch norms stay as they are, to the end"
    )
    head_epochs: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="of train.epochs, so many at first in which the head alone is trained, on a schedule of their own",
    )
    head_augment: bool = Field(
        default=True,
        description="apply [augment] while the head alone is trained too; false leaves all but flips out there, so "
        "that the frozen backbone runs on each image once",
    )
    body_lr_factor: float = Field(
        default=1.0, gt=0, le=1, description="learning rate of the backbone as a fraction of the head's"
    )
    freeze_batch_norm: bool = Field(
        default=False,
        description="batch norms keep the statistics that the backbone was trained with: those of small batches of "
        "few images are worse",
    )


class ScheduleSettings(Section):
    """[schedule]: the learning rate over the run, as a factor of its peak; over either part with head_epochs."""

    shape: Literal["one-cycle", "cosine", "linear", "step", "constant"] = Field(
        default="one-cycle", description="what follows the warm-up; one-cycle is torch's OneCycleLR"
    )
    warmup: float = Field(default=0.2, ge=0, lt=1, description="share of the run in which the rate rises")
    final: float = Field(default=0.0, ge=0, le=1, description="factor at the end (cosine and linear)")
    milestones: Fractions = Field(
        default=(0.5, 0.75), description="with step: fractions of the run at which the rate drops, warm-up included"
    )
    factor: float = Field(default=0.1, gt=0, lt=1, description="with step: what is left of the rate at a milestone")

    @model_validator(mode="after")
    def _milestones_rise(self) -> "ScheduleSettings":
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("schedule.milestones: the fractions must rise")
        return self


class AugmentSettings(Section):
    """[augment]: random changes of the training images, drawn anew each epoch.

    Their order: crop, policy, flip and shift, cutout, erasing; then, on normalised images, mixup or cutmix.
    """

    crop_scale: float = Field(
        default=1.0,
        ge=0.01,
        le=1,
        description="smallest share of the image's area that a random crop keeps: objects of any size and place; "
        "0.08 is usual for photographs and long runs, 0.35 for short ones, 1 takes the whole",
    )
    policy: Literal["off", "randaugment", "trivialaugment"] = Field(
        default="off",
        description="random colours, contrast, turns and shears, for runs long enough to overfit; trivialaugment has "
        "nothing to set; costs tenths of a millisecond an image of 32 px, milliseconds at 224",
    )
    policy_ops: int = Field(default=2, ge=1, le=10, description="with randaugment: changes of an image")
    policy_magnitude: int = Field(default=9, ge=0, le=30, description="with randaugment: their strength")
    flip: Literal["off", "random", "alternate"] = Field(
        default="random", description="horizontal flip: at random, or every second epoch from a random start"
    )
    translate_px: int = Field(default=0, ge=0, le=512, description="largest shift in either direction")
    padding: Literal["reflect", "zero"] = Field(
        default="reflect", description="fills the border: reflected pixels, or black"
    )
    cutout_px: int = Field(
        default=0, ge=0, le=512, description="side of a square painted over with the mean colour; 0 for none"
    )
    erasing: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="chance of a rectangle painted over with the mean colour, so that no single part of an object "
        "decides; 0.1 to 0.25 is usual",
    )
    mixup: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="alpha of blending each image and its label with another, against overconfidence; 0.2 is usual, "
        "0 for none",
    )
    cutmix: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="alpha of pasting a rectangle of another image, the label in proportion; 1 is usual, 0 for none; "
        "beside mixup each batch takes one of them",
    )


class TrainSettings(Section):
    """[train]: how long, in what portions and with what arithmetic."""

    epochs: int = Field(default=20, ge=1, le=100_000, description="passes over the training images")
    batch_size: int = Field(default=64, ge=1, le=65_536, description="images in a step")
    accumulate: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="portions in which a batch goes through the network, gradients added up, to fit into memory; "
        "batch_size stays the images in a step",
    )
    patience: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="epochs without a better one on the validation images that end the run; 0 for never. "
        "Goes with the schedules constant and step: the others only reach their best at the last epoch",
    )
    eval_batch_size: int | None = Field(
        default=None, ge=1, le=65_536, description="images at a time in validation; by default what their size bears"
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="of weights, order, augmentation and the validation split")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="auto takes bf16 (autocast) where the device has it in hardware; fp16, with a scaled loss, is for "
        "GPUs that don't",
    )
    channels_last: bool = Field(default=True, description="memory layout; faster for convolutions, slower for mlp")
    compile: bool = Field(
        default=False,
        description="torch.compile: half a minute or more at the start for each size of image, then faster steps on "
        "GPUs; measured slower on the CPU; needs a compiler",
    )
    deterministic: bool = Field(
        default=False,
        description="algorithms that give the same bits in every run on a GPU, so that a resumed run does; slower. On "
        "the CPU that holds anyway, with the same number of threads",
    )
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="EMA of the weights, used for validation; 0 for none")
    ema_every: int = Field(default=1, ge=1, le=1000, description="steps between updates of the EMA")
    save_every_min: float = Field(
        default=10,
        ge=0,
        le=100_000,
        description="minutes after which last.pt is saved within an epoch too; 0 for at its end only",
    )
    resolution: Stages = Field(
        default=(), description="[until, px] pairs: smaller images until that fraction of the run, e.g. [[0.5, 24]]"
    )

    @model_validator(mode="after")
    def _stages_rise(self) -> "TrainSettings":
        ends = [until for until, _px in self.resolution]
        if ends != sorted(set(ends)):
            raise ValueError("train.resolution: the fractions must rise")
        return self

    @model_validator(mode="after")
    def _portions_hold_two(self) -> "TrainSettings":
        # Batch norm needs two images to measure their spread.
        if self.accumulate > 1 and self.batch_size < 2 * self.accumulate:
            raise ValueError(
                f"train.accumulate = {self.accumulate} leaves portions of less than two images of "
                f"train.batch_size = {self.batch_size}"
            )
        return self


class Recipe(Section):
    """A whole recipe."""

    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    optim: OptimSettings = OptimSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    augment: AugmentSettings = AugmentSettings()
    train: TrainSettings = TrainSettings()

    def to_dict(self) -> dict[str, Any]:
        """Plain values as TOML has them: lists for tuples, nothing for `None`."""
        return self.model_dump(mode="json", exclude_none=True)


SECTIONS: dict[str, type[Section]] = {
    "model": ModelSettings,
    "data": DataSettings,
    "optim": OptimSettings,
    "finetune": FinetuneSettings,
    "schedule": ScheduleSettings,
    "augment": AugmentSettings,
    "train": TrainSettings,
}


def transform_of(recipe: Recipe) -> Transform:
    """The one preprocessing of a resolved recipe."""
    data = recipe.data
    if not (data.resize_px and data.image_px and data.mean and data.std and data.interpolation):
        raise ValueError("the recipe is not resolved")
    return Transform(
        resize_px=data.resize_px,
        crop_px=data.image_px,
        crop_width_px=data.image_width_px,
        mean=data.mean,
        std=data.std,
        interpolation=data.interpolation,
        resize=data.resize or "crop",
        pad_rgb=data.pad_rgb or (0, 0, 0),
        background_rgb=parse_colour(data.background) if data.background else None,
        depth_bits=data.depth_bits,
    )
