"""What `imgcls train` begins with: the recipe, from a file or by default, and the line that says so."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgcls.cli import console
from imgcls.cli.train.recipe_options import RecipeOptions
from imgcls.cli.train.run_options import RunOptions
from imgcls.errors import UsageError

if TYPE_CHECKING:
    from imgcls.recipes.schema import Recipe


@dataclass(frozen=True, slots=True)
class ReadRecipe:
    """A recipe and where it came from.

    Attributes:
        recipe: resolved.
        name: that a new run's folder gets from the recipe's file; may be empty.
        message: what was chosen by default.
        warning: what would have been better, and how to get it.
    """

    recipe: "Recipe"
    name: str = ""
    message: str = ""
    warning: str = ""

    def say(self) -> None:
        """Tell what was chosen, if anything was."""
        if self.message:
            console.message(self.message)
        if self.warning:
            console.warn(self.warning)


def read_recipe(asked: RecipeOptions, run: RunOptions) -> ReadRecipe:
    """The recipe that a run was asked for, or else the default one for its images.

    Raises:
        UsageError: `--from-scratch` beside an option that begins with trained weights.
        ImgclsError: as `load_recipe` raises it.
    """
    from imgcls.recipes.loading import load_recipe
    from imgcls.runs.folder import config_path

    flags, assignments = asked.flags(), asked.set_ or ()
    if asked.from_scratch:
        _check_from_scratch(asked, run)
    source = config_path(run.resume) if run.resume is not None and asked.config is None else asked.config
    if source is None and not asked.from_scratch:
        return _by_default(asked)
    if asked.from_scratch:
        from imgcls.recipes.fine_tuning import FROM_SCRATCH
        from imgcls.recipes.resolving import begins_trained

        flags |= FROM_SCRATCH
    recipe = load_recipe(source, assignments=assignments, flags=flags)
    if asked.from_scratch and begins_trained(recipe.model):
        raise UsageError(
            f"--from-scratch and {asked.model or source} contradict each other: that is a trained model",
            hint=f"--from-scratch -m {recipe.model.name} trains the same network from random weights",
        )
    return ReadRecipe(recipe, source.stem if source is not None else "")


def _check_from_scratch(asked: RecipeOptions, run: RunOptions) -> None:
    others = {
        "--pretrained": asked.pretrained,
        "--weights": asked.weights is not None,
        "--freeze": asked.freeze,
        "--resume": run.resume is not None,
    }
    if given := [option for option, is_given in others.items() if is_given]:
        raise UsageError(f"--from-scratch and {given[0]} contradict each other", hint="leave one of them out")


def _by_default(asked: RecipeOptions) -> ReadRecipe:
    from imgcls.models.families.efficientnet_lite import INSTALL
    from imgcls.recipes.fine_tuning import default_recipe
    from imgcls.recipes.loading import load_recipe

    flags, assignments = asked.flags(), asked.set_ or ()
    chosen = default_recipe(assignments, flags)
    recipe = load_recipe(chosen.config, assignments=assignments, flags={**flags, **chosen.flags})
    if chosen.lacks_weights:
        return ReadRecipe(recipe, warning=f"begins with random weights: fine-tuning is far better, after {INSTALL}")
    if not chosen.fine_tunes:
        return ReadRecipe(recipe)
    finetune, how = recipe.finetune, "all its layers"
    if finetune.freeze:
        how = "its head alone"
    elif finetune.head_epochs:
        how = "its head first, then all layers"
    message = f"fine-tunes {chosen.fine_tunes}, {how}; --from-scratch begins with random weights instead"
    return ReadRecipe(recipe, message=message)
