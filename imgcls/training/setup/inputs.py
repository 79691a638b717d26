"""What a resolved recipe names: its images, and the weights that the network begins with."""

from collections.abc import Callable
from pathlib import Path

from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.opening import Dataset, open_dataset
from imgcls.datasets.resolving import SPLITS
from imgcls.models.registry import is_architecture, whole_spec
from imgcls.models.weights.initial_weights import Start, load_start
from imgcls.recipes.resolving import begins_trained
from imgcls.recipes.schema import Recipe, transform_of

Progress = Callable[[int, int], None]
DownloadProgress = Callable[[int, int | None], None]


def with_whole_paths(recipe: Recipe) -> Recipe:
    """The same recipe with its images and weights named from the root, so that they are found from anywhere."""
    model: dict[str, str] = {}
    if recipe.model.weights:
        model["weights"] = whole_spec(recipe.model.weights)
    if recipe.model.labels:
        model["labels"] = str(Path(recipe.model.labels).absolute())
    if not is_architecture(recipe.model.name):
        model["name"] = whole_spec(recipe.model.name)
    return with_whole_source(recipe.model_copy(update={"model": recipe.model.model_copy(update=model)}))


def with_whole_source(recipe: Recipe) -> Recipe:
    """The same recipe with its images, and what is to be mended in them, alone named so."""
    if recipe.data.fixes:
        fixes = str(Path(recipe.data.fixes).expanduser().absolute())
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"fixes": fixes})})
    if recipe.data.source in ("", "cifar10"):
        return recipe
    return with_source(recipe, str(Path(recipe.data.source).expanduser().absolute()))


def with_source(recipe: Recipe, source: str) -> Recipe:
    """The same recipe with its images elsewhere."""
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})


def open_start(recipe: Recipe, *, progress: DownloadProgress | None = None) -> Start | None:
    """The weights that a resolved recipe begins with; None for random ones. See `load_start` for errors."""
    model = recipe.model
    if not begins_trained(model):
        return None
    return load_start(
        model.name,
        model.arguments or {},
        pretrained=model.pretrained if isinstance(model.pretrained, str) else "",
        weights=model.weights,
        labels=model.labels,
        ema=model.ema,
        progress=progress,
    )


def open_data(
    recipe: Recipe,
    *,
    seen: SeenImages | None = None,
    splits: tuple[str, ...] = SPLITS,
    workers: int | None = None,
    max_memory_mib: int | None = None,
    progress: Progress | None = None,
    download_progress: DownloadProgress | None = None,
) -> Dataset:
    """Open the images that a resolved recipe names; see `open_dataset` for the arguments and errors."""
    data = recipe.data
    return open_dataset(
        recipe.data.source,
        transform=transform_of(recipe),
        val_fraction=1 / data.folds if data.folds else data.val_fraction,
        seed=recipe.train.seed if recipe.data.split_seed is None else recipe.data.split_seed,
        seen=seen,
        allow_modified=recipe.data.allow_modified,
        strict=recipe.data.strict,
        fold=(data.fold, data.folds) if data.folds else None,
        group_column=recipe.data.group_column,
        multi_label=recipe.data.multi_label,
        fixes=Path(recipe.data.fixes) if recipe.data.fixes else None,
        workers=workers,
        max_memory_mib=max_memory_mib,
        splits=splits,
        progress=progress,
        download_progress=download_progress,
    )
