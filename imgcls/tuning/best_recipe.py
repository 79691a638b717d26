"""best.toml: the best recipe so far, as `imgcls train` takes it, with where it came from at its head."""

import shlex
from pathlib import Path

from imgcls.host.versions import versions
from imgcls.recipes.loading import recipe_text
from imgcls.recipes.schema import Recipe
from imgcls.tuning.results import TrialRecord

NAMED = ("imgcls", "torch", "optuna")


def best_recipe_text(
    recipe: Recipe, best: TrialRecord, *, path: Path, num_complete: int, num_val: int, val_fraction: float | None
) -> str:
    """A whole recipe with comments at its head.

    Args:
        recipe: resolved, with the best trial's values.
        best: that trial.
        path: of the file, for the command at its head.
        num_complete: how many trials it was chosen among.
        num_val: images that it was measured on.
        val_fraction: what the search alone kept back for validation, or None.
    Raises:
        ConfigError: a string that TOML can't hold.
    """
    used = versions(("torch", "optuna"))
    lines = [
        f"The best of {num_complete} complete trials: trial {best.number}, top-1 {best.top1:.2%} of {num_val:,} "
        f"validation images after epoch {best.epoch}.",
        f"Found by imgcls tune ({', '.join(f'{name} {used[name]}' for name in NAMED if name in used)}).",
        "",
        f"  imgcls train -c {shlex.quote(str(path))}",
    ]
    if val_fraction is not None:
        lines += [
            "",
            f"The trial kept {val_fraction:.0%} of the training images back to be measured on. This recipe trains on",
            "all of them, and is measured on the test images, which the search has never seen. For the trial itself:",
            f"--set data.val_fraction={val_fraction}",
        ]
    # A line break in a folder's name would end the comment.
    comments = [f"# {' '.join(line.splitlines())}".rstrip() for line in lines]
    return "\n".join(comments) + "\n\n" + recipe_text(recipe)
