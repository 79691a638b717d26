"""What no single key of a recipe shows: whether its parts, the network, the device and the data go together."""

import torch

from imgcls.datasets.opening import Dataset
from imgcls.errors import ConfigError, ModelError, UsageError
from imgcls.models.building import build_unallocated
from imgcls.recipes.resolving import begins_trained, size_argument
from imgcls.recipes.schema import Recipe, transform_of
from imgcls.training.compiling import check_compiler, compiled_sizes
from imgcls.training.precision import choose_precision


def check_recipe_fits(recipe: Recipe) -> None:
    """Check what no single key shows, before any work.

    Raises:
        UsageError: no data set.
        ConfigError: keys that contradict each other, or a size of image that the network doesn't take.
        ModelError: unknown model, or one that doesn't take its arguments.
    """
    if not recipe.data.source:
        raise UsageError("no data set given", hint="imgcls train --data DIR, or --data cifar10")
    transform = transform_of(recipe)
    if recipe.train.resolution and recipe.model.name == "mlp":
        raise ConfigError("train.resolution doesn't go with mlp, whose first layer has one size", hint="leave it out")
    too_large = [px for _until, px in recipe.train.resolution if px > transform.crop_px]
    if too_large:
        raise ConfigError(
            f"train.resolution has {too_large[0]} px, more than data.image_px = {transform.crop_px}",
            hint="it is for smaller images at first; raise data.image_px",
        )
    _check_phases(recipe)
    sides_px = sorted({transform.crop_px, *(px for _until, px in recipe.train.resolution)})
    _check_sizes(recipe, [transform.scaled_size(px) for px in sides_px])


def _check_phases(recipe: Recipe) -> None:
    finetune, epochs = recipe.finetune, recipe.train.epochs
    key = "freeze" if finetune.freeze else "head_epochs"
    if (finetune.freeze or finetune.head_epochs) and not begins_trained(recipe.model):
        raise ConfigError(
            f"finetune.{key}: the backbone of {recipe.model.name} would stay as random as it begins",
            hint="begin with trained weights: --pretrained, --weights FILE, or --model RUN",
        )
    if finetune.freeze_batch_norm and not begins_trained(recipe.model):
        raise ConfigError(
            f"finetune.freeze_batch_norm: {recipe.model.name} begins with random weights and statistics",
            hint="begin with trained weights, or --set finetune.freeze_batch_norm=false",
        )
    if not finetune.freeze and finetune.head_epochs >= epochs:
        raise ConfigError(
            f"finetune.head_epochs = {finetune.head_epochs} leaves none of train.epochs = {epochs} for the backbone",
            hint=f"--epochs {finetune.head_epochs + 1} or more; --freeze trains the head alone",
        )


def _check_sizes(recipe: Recipe, sizes_px: list[tuple[int, int]]) -> None:
    """Make sure that the network takes images of these sizes, before all of them are decoded in vain."""
    name = recipe.model.name
    try:
        # On the meta device a network has no weights and computes shapes only, so that this takes no time.
        network = build_unallocated(name, num_classes=2, arguments=recipe.model.arguments).to("meta")
        network.train(not recipe.finetune.freeze)
    except ModelError as exc:
        if size_argument(name) is None or exc.__cause__ is None:
            raise
        said = str(exc.__cause__).partition("\n")[0]
        raise ConfigError(
            f"{name} can't be built for images of {sizes_px[-1][0]} px: {said}",
            hint="another data.image_px, such as --set data.image_px=224",
        ) from exc
    for height, width in sizes_px:
        try:
            network(torch.empty(min(recipe.train.batch_size, 2), 3, height, width, device="meta"))
        except (RuntimeError, AssertionError, ValueError) as exc:
            said = str(exc).partition("\n")[0]
            raise ConfigError(
                f"{name} can't be trained on images of {height} x {width}: {said}",
                hint="raise data.image_px: --set data.image_px=224"
                + ("; or --batch-size 2 or more" if recipe.train.batch_size == 1 else ""),
            ) from exc


def check_device_fits(recipe: Recipe, device: torch.device, *, num_processes: int = 1) -> None:
    """Check what the recipe asks of the device, before the data are opened.

    Raises:
        ConfigError: more sizes of batch to compile than torch keeps apart, or several processes that compile.
        DeviceError: a precision that doesn't pay there, or nothing to compile with.
    """
    train = recipe.train
    choose_precision(train.precision, device)
    if train.compile and num_processes > 1:
        raise ConfigError(
            f"train.compile doesn't go with {num_processes} processes yet", hint="--set train.compile=false"
        )
    if train.compile:
        num_sizes = len(compiled_sizes(train.batch_size, train.accumulate)) * (len(train.resolution) + 1)
        check_compiler(device, num_sizes=num_sizes)


def check_data_fits(recipe: Recipe, dataset: Dataset) -> None:
    """Check what the recipe asks of the data, before the run has a folder.

    Raises:
        ConfigError: early stopping without validation images.
    """
    if recipe.train.patience and dataset.val is None:
        stand_in = "; the test images choose nothing" if dataset.test is not None else ""
        raise ConfigError(
            f"train.patience = {recipe.train.patience} needs validation images{stand_in}",
            hint="keep a share of the training images: --set data.val_fraction=0.1",
        )
