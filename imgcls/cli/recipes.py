"""`imgcls recipes`: the recipes that ship with the package."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from imgcls.cli import console, options

if TYPE_CHECKING:
    from imgcls.recipes.shipped import ShippedRecipe

EXAMPLE = "Example: imgcls recipes   or: imgcls recipes cnn > mine.toml"
SCHEMA = 1
FIGURE_NAMES = {
    "accuracy": "accuracy",
    "seeds": "seeds",
    "time": "time",
    "hardware": "hardware",
    "measured_by": "measured by",
}
# The name's column; what is said of a recipe stands behind it.
INDENT = 12


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe; by default list all.", metavar="NAME")] = None,
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """List the recipes and search spaces that --config and --space take by name, with their figures; or print one."""
    console.quiet = quiet
    from imgcls.recipes.shipped import read_shipped, shipped_recipes

    found = [read_shipped(name)] if name is not None else shipped_recipes()
    console.use_utf8_stdout()
    if format_ is options.ReportFormat.JSON:
        listed = [each.to_dict() | ({"text": each.text} if name is not None else {}) for each in found]
        console.data(json.dumps({"schema": SCHEMA, "recipes": listed}, ensure_ascii=False))
        return
    if name is not None:
        console.data(found[0].text.rstrip("\n"))
        return
    console.data("\n\n".join("\n".join(_lines(each)) for each in found))
    console.message("imgcls recipes NAME prints one; imgcls train -c NAME trains with it; a path to a file works too")


def _lines(recipe: "ShippedRecipe") -> list[str]:
    """A recipe's title, command and figures: one line each, so that they can be searched."""
    lines = [f"{recipe.name:<{INDENT}}{recipe.title}", f"{'':{INDENT}}{recipe.command}"]
    lines += [f"{'':{INDENT}}{FIGURE_NAMES[key]}: {text}" for key, text in recipe.figures.items()]
    return lines
