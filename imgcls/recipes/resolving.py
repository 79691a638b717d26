"""What a recipe leaves out and the data, the network or the weights that it begins with decide."""

from pathlib import Path
from typing import Any

from imgcls.errors import ConfigError, ModelError
from imgcls.images.transform import IMAGENET_MEAN, IMAGENET_STD, Transform
from imgcls.images.transform_values import colour_text
from imgcls.models.families.bundled import OWN
from imgcls.models.registry import (
    family_of,
    find_checkpoint,
    find_family,
    is_architecture,
    unknown_model_message,
    whole_spec,
)
from imgcls.models.weights.initial_weights import check_told, stored_start
from imgcls.recipes.model_and_data import DataSettings, ModelSettings
from imgcls.recipes.schema import Recipe

# Mean and standard deviation of CIFAR-10's training pixels.
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
CIFAR10_PX = 32
# Own networks are small: this side keeps a photograph recognisable and an epoch on two CPU cores bearable.
FOLDER_PX = 64
TORCHVISION_PX = 224
# Images at a time in validation, by their largest side: as many as an ordinary network and memory bear.
EVAL_BATCH_SIZES = {64: 500, 256: 128, 1024: 32}


def is_cifar10(recipe: Recipe) -> bool:
    """Whether the recipe's images are CIFAR-10's, by name or as a folder that holds its files."""
    source = recipe.data.source
    if source == "cifar10":
        return True
    folder = Path(source)
    return bool(source) and (folder.name == "cifar-10-batches-py" or (folder / "cifar-10-batches-py").is_dir())


def resolve_recipe(recipe: Recipe) -> Recipe:
    """Fill in what the recipe leaves out: network and weights, the builder's arguments, size, mean, std.

    A recipe that leaves out nothing stays as it is, and then the weights that it begins with need not be there.

    Raises:
        ConfigError: keys that contradict each other.
        ModelError: the weights to begin with aren't there or can't be read.
    """
    if _is_resolved(recipe):
        return recipe
    model, transform = _resolve_model(recipe.model)
    data = _resolve_data(recipe, model.name in OWN, transform)
    assert data.image_px is not None
    height, width = data.image_px, data.image_width_px or data.image_px
    model = model.model_copy(update={"arguments": _sized(model, height, width)})
    eval_batch_size = next(size for px, size in EVAL_BATCH_SIZES.items() if max(height, width) <= px)
    train = recipe.train.model_copy(update={"eval_batch_size": recipe.train.eval_batch_size or eval_batch_size})
    return recipe.model_copy(update={"data": data, "model": model, "train": train})


def begins_trained(model: ModelSettings) -> bool:
    """Whether a network begins with weights that were trained before, not with random ones."""
    return bool(model.weights or model.pretrained)


def _is_resolved(recipe: Recipe) -> bool:
    model, data = recipe.model, recipe.data
    filled = (
        *(data.image_px, data.resize_px, data.mean, data.std, data.interpolation),
        *(model.arguments, recipe.train.eval_batch_size),
    )
    return None not in filled and model.pretrained is not True and is_architecture(model.name)


def _resolve_model(model: ModelSettings) -> tuple[ModelSettings, Transform | None]:
    """The network with its arguments, and the preprocessing of the weights that it begins with."""
    named = "name" in model.model_fields_set
    if named and not is_architecture(model.name):
        if find_checkpoint(model.name) is None:
            raise ModelError(
                unknown_model_message(model.name),
                hint="use mlp, cnn, a name that 'imgcls models' lists, or a checkpoint to begin with",
            )
        if model.weights:
            raise ConfigError(
                f"model.name = {model.name!r} and model.weights = {model.weights!r} both say what to begin with",
                hint=f"name the network of {model.weights}, or leave it out",
            )
        return _from_weights(model, model.name, named=False)
    if model.weights:
        return _from_weights(model, model.weights, named=named)
    check_told("", labels=model.labels, ema=model.ema)
    family = family_of(model.name)
    arguments = family.training_arguments(model.name, trained=bool(model.pretrained)) | (model.arguments or {})
    if not model.pretrained:
        return model.model_copy(update={"arguments": arguments}), None
    if model.name in OWN:
        raise ConfigError(
            f"model.pretrained: nobody publishes weights of {model.name!r}",
            hint="begin with a trained model: --model cifar10-cnn or --model RUN; else --set model.pretrained=false",
        )
    entry = family.entry(model.name, model.pretrained if isinstance(model.pretrained, str) else "")
    return model.model_copy(
        update={
            "name": entry.network or model.name,
            "pretrained": entry.weights_name,
            "arguments": {**entry.arguments, **arguments},
        }
    ), entry.transform


def _from_weights(model: ModelSettings, weights: str, *, named: bool) -> tuple[ModelSettings, Transform | None]:
    stored = stored_start(weights)
    filled: dict[str, Any] = {"weights": whole_spec(weights), "pretrained": False}
    if stored is not None:
        check_told(weights, labels=model.labels, ema=model.ema)
        if named and stored.model_name != model.name:
            raise ModelError(
                f"{weights} is a checkpoint of {stored.model_name!r}, not of {model.name!r}",
                hint=f"begin with the network that it is: imgcls train --model {weights}",
            )
        filled |= {"name": stored.model_name, "arguments": stored.model_arguments | (model.arguments or {})}
        return model.model_copy(update=filled), stored.transform
    if not named:
        raise ConfigError(
            f"{weights} holds weights without the name of their network",
            hint=f"name it: --model resnet18 --weights {weights}",
        )
    if model.labels:
        filled["labels"] = str(Path(model.labels).absolute())
    family = family_of(model.name)
    filled["arguments"] = family.training_arguments(model.name, trained=True) | (model.arguments or {})
    transform = family.entry(model.name).transform if model.name not in OWN else None
    return model.model_copy(update=filled), transform


def _resolve_data(recipe: Recipe, own: bool, transform: Transform | None) -> DataSettings:
    data = recipe.data
    if transform is None:
        cifar10 = is_cifar10(recipe)
        image_px = CIFAR10_PX if cifar10 else FOLDER_PX if own else TORCHVISION_PX
        mean, std = (CIFAR10_MEAN, CIFAR10_STD) if cifar10 else (IMAGENET_MEAN, IMAGENET_STD)
        transform = Transform(image_px, image_px, mean=mean, std=std)
    image_px = data.image_px or transform.crop_px
    resize = data.resize or transform.resize
    # Another size is cut from the same share of the image; whoever asks for all of it gets all of it.
    share = transform.resize_px / transform.crop_px if resize == transform.resize else 1
    resize_px = data.resize_px or round(image_px * share)
    return data.model_copy(
        update={
            "image_px": image_px,
            "image_width_px": data.image_width_px if data.image_px else transform.crop_width_px,
            "resize": None if resize == "crop" else resize,
            "resize_px": resize_px,
            "pad_rgb": data.pad_rgb or (transform.pad_rgb if any(transform.pad_rgb) else None),
            "mean": data.mean or transform.mean,
            "std": data.std or transform.std,
            "interpolation": data.interpolation or transform.interpolation,
            "background": data.background or (transform.background_rgb and colour_text(transform.background_rgb)),
            "depth_bits": data.depth_bits or transform.depth_bits,
            "truncated": data.truncated or ("accept" if transform.accepts_truncated else None),
        }
    )


def size_argument(name: str) -> str | None:
    """What the builder calls the size of the images, of a network that takes but one."""
    family = find_family(name)
    return family.size_argument(name) if family is not None else None


def _sized(model: ModelSettings, height: int, width: int) -> dict[str, Any]:
    """The builder's arguments with the image's size, where that belongs to the network."""
    key = size_argument(model.name)
    if key in ("image_px", "image_size") and height != width:
        raise ConfigError(
            f"{model.name} takes square images, not {height} x {width}",
            hint=f"--set data.image_px={max(height, width)} --set data.resize=pad shows it the whole image",
        )
    sized = {} if key is None else {key: [height, width] if key == "input_size" else height}
    return (model.arguments or {}) | sized
