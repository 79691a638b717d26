"""What a run begins with that names no recipe: trained weights that are here, fine-tuned on a folder of images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imgcls.models.families.bundled import OWN
from imgcls.models.registry import WITHOUT_DOWNLOAD, find_checkpoint, find_family, weights_are_here
from imgcls.recipes.loading import load_recipe, parse_assignment
from imgcls.recipes.model_and_data import DataSettings
from imgcls.recipes.resolving import is_cifar10
from imgcls.recipes.schema import Recipe

# The shipped recipe that such a run takes.
RECIPE = "finetune"
# Settings by which somebody says what network a run has.
SAYS_WHICH = ("model.name", "model.pretrained", "model.weights", "model.arguments")
FROM_SCRATCH: dict[str, Any] = {
    "model.pretrained": False,
    "model.weights": "",
    "finetune.freeze": False,
    "finetune.head_epochs": 0,
    "finetune.freeze_batch_norm": False,
}


@dataclass(frozen=True, slots=True)
class DefaultRecipe:
    """What stands in for a recipe that nobody named.

    Attributes:
        config: name of the shipped recipe; None for the plain defaults.
        flags: settings by dotted key.
        fine_tunes: the network whose trained weights the run begins with; empty for random weights.
        lacks_weights: whether it begins with random weights only because no others are here.
    """

    config: str | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    fine_tunes: str = ""
    lacks_weights: bool = False


def default_recipe(assignments: Sequence[str], flags: Mapping[str, Any]) -> DefaultRecipe:
    """Choose between fine-tuning and random weights, for a run without a recipe.

    A folder of images is fine-tuned on, with the network that `model.name` names or, where nothing names one,
    `efficientnet-lite0`, if its published weights need no download or are asked for. CIFAR-10, our own networks, and
    whatever begins with weights that were named keep the plain defaults.

    Args:
        assignments: `section.key=value`, as `load_recipe` takes them.
        flags: values by dotted key, None for a flag that wasn't given; they win.
    Raises:
        ConfigError: an assignment without a key.
        ModelError: a path to a model where nothing usable is.
    """
    values = dict(map(parse_assignment, assignments))
    given = values | {key: value for key, value in flags.items() if value is not None}
    source = given.get("data.source")
    if not source or not isinstance(source, str) or is_cifar10(Recipe(data=DataSettings(source=source))):
        return DefaultRecipe()
    if any(key.startswith(SAYS_WHICH) for key in values) or given.get("model.weights"):
        return DefaultRecipe()
    named = given.get("model.name")
    if named is None:
        if not (given.get("model.pretrained") or weights_are_here(WITHOUT_DOWNLOAD)):
            return DefaultRecipe(lacks_weights=True)
        return _fine_tuning(WITHOUT_DOWNLOAD, given)
    if named in OWN or find_family(named) is None or find_checkpoint(named) is not None:
        return DefaultRecipe()
    if not (given.get("model.pretrained") or weights_are_here(named)):
        return DefaultRecipe()
    return _fine_tuning(named, given)


def _fine_tuning(name: str, given: Mapping[str, Any]) -> DefaultRecipe:
    flags: dict[str, Any] = {"model.name": name, "model.pretrained": True}
    epochs = given.get("train.epochs")
    if isinstance(epochs, int) and "finetune.head_epochs" not in given:
        # The recipe's epochs are shared out for as many as it has; of fewer, half are left to the backbone.
        usual = load_recipe(RECIPE, resolve=False).finetune.head_epochs
        flags["finetune.head_epochs"] = min(usual, epochs // 2)
    return DefaultRecipe(RECIPE, flags, fine_tunes=name)
