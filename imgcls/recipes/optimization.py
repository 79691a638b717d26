"""A recipe's [optim], [finetune], [schedule], [augment] and [train]: how the network learns."""

from typing import Literal

from pydantic import Field, model_validator

from imgcls.recipes.section import Fractions, Section, Stages


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
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="beside body_lr_factor: learning rate of each layer as a fraction of the one after it, from the "
        "head backwards; 0.65 to 0.9 is usual for transformers, 1 for none",
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
        # Batch norm needs two images to measure their variance.
        if self.accumulate > 1 and self.batch_size < 2 * self.accumulate:
            raise ValueError(
                f"train.accumulate = {self.accumulate} leaves portions of less than two images of "
                f"train.batch_size = {self.batch_size}"
            )
        return self
