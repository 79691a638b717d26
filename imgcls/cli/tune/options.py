"""The options of `imgcls tune`, grouped as its --help shows them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from imgcls.cli.max_time import max_time_option
from imgcls.cli.train import recipe_options as of_train

STUDY = "Study folder and time"


class Pruner(StrEnum):
    """How trials that do badly are stopped early."""

    MEDIAN = "median"
    HALVING = "halving"
    NONE = "none"


Space = Annotated[
    Path | None,
    typer.Option("--space", help="Settings to search and their ranges: a file, or the name space.", metavar="SPACE"),
]
Trials = Annotated[
    int | None,
    typer.Option("--trials", min=1, help="Trials in all, with those of a resumed study; by default 20.", metavar="N"),
]
PrunerOption = Annotated[
    Pruner | None,
    typer.Option("--pruner", help="Stop trials below the median, by successive halving, or none; by default median."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="Seed of the search, and of weights, order and augmentation in every trial.",
        metavar="N",
        rich_help_panel=of_train.RECIPE,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="The study's folder; by default studies/<recipe>-<date>-<time>.",
        metavar="DIR",
        rich_help_panel=STUDY,
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        help="Continue a study; several processes may do so at the same time.",
        metavar="STUDY",
        rich_help_panel=STUDY,
    ),
]
MaxTime = Annotated[str | None, max_time_option(STUDY)]


class SearchOptions(NamedTuple):
    """What is searched: a recipe, settings in its place, and a space."""

    config: of_train.Config = None
    space: Space = None
    data: of_train.Data = None
    model: of_train.Model = None
    trials: Trials = None
    pruner: PrunerOption = None
    pretrained: of_train.Pretrained = False
    epochs: of_train.Epochs = None
    seed: Seed = None
    set_: of_train.Set = None
    allow_modified_data: of_train.AllowModifiedData = False

    def flags(self) -> dict[str, Any]:
        """Values by the recipe's dotted key, None for options that weren't given."""
        return {
            "data.source": self.data,
            "data.allow_modified": self.allow_modified_data or None,
            "model.name": self.model,
            "model.pretrained": self.pretrained or None,
            "train.epochs": self.epochs,
            "train.seed": self.seed,
        }


class StudyOptions(NamedTuple):
    """Where a study lies, and how long it may take."""

    output: Output = None
    resume: Resume = None
    max_time: MaxTime = None
