"""What a study searches, in what and on what: settled before its first trial, and found again when it is resumed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from imgcls.datasets.labelled_images import digest_of, is_multi_label
from imgcls.datasets.opening import Dataset
from imgcls.datasets.readers.folder import find_split_folders
from imgcls.errors import ConfigError, DataError
from imgcls.host.devices import DeviceChoice, choose_device
from imgcls.recipes.loading import load_recipe
from imgcls.recipes.resolving import is_cifar10, resolve_recipe
from imgcls.recipes.schema import Recipe
from imgcls.training.checkpointing.resume import describe_differences
from imgcls.tuning.folder import StudyFolder
from imgcls.tuning.space import SearchSpace
from imgcls.tuning.space_file import load_space
from imgcls.tuning.trial import OpenImages

# What the search keeps back of the training images where a recipe would measure itself on the test images.
VAL_FRACTION = 0.1


def fraction_to_keep_back(given: float | None, splits: set[str]) -> float | None:
    """What the search has to keep back for validation; None where the recipe and its images have something already.

    Choosing among trials by the test images would leave nothing to measure the choice with.

    Args:
        given: the recipe's own fraction.
        splits: that the images come with.
    """
    has_own = given or "val" in splits or (given is None and "test" not in splits)
    return None if has_own else VAL_FRACTION


def own_splits(recipe: Recipe) -> set[str]:
    """Which of `train`, `val` and `test` the images come with.

    Raises:
        DataError: the folder can't be listed.
    """
    if is_cifar10(recipe):
        return {"train", "test"}
    root = Path(recipe.data.source).expanduser()
    return set(find_split_folders(root)) if root.is_dir() else set()


@dataclass(frozen=True)
class Task:
    """What is searched, in what, and on what.

    Attributes:
        recipe: as the user has it, not resolved.
        tried: what every trial begins from: the same with images to validate on.
        space: what is searched.
        val_fraction: what `tried` keeps back and `recipe` doesn't, or None.
        images: open.
        dataset: of the recipe itself.
        has_test: whether the images come with some to test on.
        choice: the device.
    """

    recipe: Recipe
    tried: Recipe
    space: SearchSpace
    val_fraction: float | None
    images: OpenImages
    dataset: Dataset
    has_test: bool
    choice: DeviceChoice

    @classmethod
    def prepare(cls, recipe: Recipe, space: SearchSpace, images: OpenImages, device: str) -> Self:
        """Open the images and see that a search makes sense with them."""
        choice = choose_device(device)
        splits = own_splits(recipe)
        val_fraction = fraction_to_keep_back(recipe.data.val_fraction, splits)
        data = recipe.data if val_fraction is None else recipe.data.model_copy(update={"val_fraction": val_fraction})
        tried = recipe.model_copy(update={"data": data})
        dataset = images.of(resolve_recipe(tried))
        if dataset.train is None or dataset.val is None:
            raise DataError(f"{recipe.data.source} has no images to validate on", hint="--set data.val_fraction=0.2")
        if is_multi_label(dataset.val):
            raise DataError(
                f"{recipe.data.source} has several labels per image, and a search goes by top-1",
                hint="imgcls train ranks epochs by mAP; imgcls compare RUN... ranks runs by it",
            )
        return cls(recipe, tried, space, val_fraction, images, dataset, "test" in splits, choice)

    @property
    def data(self) -> dict[str, Any]:
        """Where the validation images came from."""
        assert self.dataset.val is not None
        return self.dataset.val.description.to_dict()

    @property
    def fingerprint(self) -> str:
        """Tells the images, of both splits, from any others."""
        assert self.dataset.train is not None
        return f"{self.dataset.train.description.fingerprint}/{self.data['fingerprint']}"

    @property
    def content(self) -> str:
        """The same, whatever the times of the files."""
        assert self.dataset.train is not None
        assert self.dataset.val is not None
        return f"{digest_of(self.dataset.train)}/{digest_of(self.dataset.val)}"


def stored_search(folder: StudyFolder, recipe: Recipe | None, space: Path | None) -> tuple[Recipe, SearchSpace]:
    """The recipe and the space of a study to resume, if those given now are none others.

    Args:
        folder: of the study.
        recipe: given now, not resolved; or None.
        space: likewise.
    Raises:
        ConfigError: the first keys that differ.
    """
    begun_with = load_recipe(folder.recipe_path, resolve=False)
    searched = load_space(folder.space_path, begun_with)
    hint = f"imgcls tune --resume {folder.path} goes on as it began; for another search start a new study"
    if recipe is not None:
        differences = describe_differences(resolve_recipe(begun_with), resolve_recipe(recipe))
        if differences:
            raise ConfigError(f"the study in {folder.path} has another recipe: {differences}", hint=hint)
    if space is not None:
        differing = searched.differing(load_space(space, begun_with))
        if differing:
            names = ", ".join(differing)
            raise ConfigError(f"the study in {folder.path} searches another space than {space}: {names}", hint=hint)
    return recipe or begun_with, searched
