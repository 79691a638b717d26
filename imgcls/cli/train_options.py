"""The options of `imgcls train`, grouped as its --help shows them."""

from pathlib import Path
from typing import Annotated, Optional

import typer

START = "What it begins with"
RECIPE = "Most used settings of the recipe"
RUN = "The run"
LOOK = "Looking before leaping"

# Typer reads these at run time, and asks for Optional where None may stand.
# ruff: noqa: UP045
Config = Annotated[
    Optional[Path],
    typer.Option(
        "--config",
        "-c",
        help="A TOML file, or a name that 'imgcls recipes' lists; else defaults.",
        metavar="RECIPE",
    ),
]
Data = Annotated[Optional[str], typer.Option("--data", help="cifar10, or a folder of class folders.", metavar="DATA")]
Model = Annotated[
    Optional[str],
    typer.Option(
        "--model",
        "-m",
        help="mlp, cnn, a torchvision classifier, or a trained model to go on from; replaces the recipe's.",
        metavar="MODEL",
    ),
]
Set = Annotated[
    Optional[list[str]],
    typer.Option("--set", help="Any setting of the recipe; may be repeated.", metavar="SECTION.KEY=VALUE"),
]
Pretrained = Annotated[
    bool,
    typer.Option("--pretrained", help="torchvision's ImageNet weights instead of random ones.", rich_help_panel=START),
]
Weights = Annotated[
    Optional[Path],
    typer.Option("--weights", help="A plain state_dict, or a checkpoint.", metavar="FILE", rich_help_panel=START),
]
Freeze = Annotated[
    bool,
    typer.Option("--freeze", help="Train the head alone; the body stays as it begins.", rich_help_panel=START),
]
Epochs = Annotated[
    Optional[int],
    typer.Option("--epochs", help="Passes over the training images.", metavar="N", rich_help_panel=RECIPE),
]
BatchSize = Annotated[
    Optional[int], typer.Option("--batch-size", help="Images in a step.", metavar="N", rich_help_panel=RECIPE)
]
LearningRate = Annotated[
    Optional[float],
    typer.Option("--lr", help="Learning rate at the schedule's peak.", metavar="X", rich_help_panel=RECIPE),
]
Seed = Annotated[
    Optional[int],
    typer.Option(
        "--seed",
        help="Of weights, order, augmentation and validation split.",
        metavar="N",
        rich_help_panel=RECIPE,
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="The same bits in every run on a GPU too; slower.", rich_help_panel=RECIPE),
]
AllowModifiedData = Annotated[
    bool,
    typer.Option(
        "--allow-modified-data",
        help="Take CIFAR-10 files whose checksums are not the published ones.",
        rich_help_panel=RECIPE,
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse damaged images instead of skipping them.", rich_help_panel=RECIPE),
]
Output = Annotated[
    Optional[Path],
    typer.Option(
        "--output",
        "-o",
        help="The run's folder; by default runs/<recipe>-<date>-<time>.",
        metavar="DIR",
        rich_help_panel=RUN,
    ),
]
Resume = Annotated[
    Optional[Path],
    typer.Option(
        "--resume",
        help="Go on with a run that was cut; ends as if it never had been.",
        metavar="RUN",
        rich_help_panel=RUN,
    ),
]
MaxTime = Annotated[
    Optional[str],
    typer.Option(
        "--max-time",
        help="Save and end after that long, with code 0; --resume goes on, with the time anew.",
        metavar="30m|1h30m|90s",
        rich_help_panel=RUN,
    ),
]
TensorBoard = Annotated[
    bool,
    typer.Option("--tensorboard", help="Also write RUN/tensorboard, for tensorboard --logdir.", rich_help_panel=RUN),
]
PrintConfig = Annotated[
    bool,
    typer.Option("--print-config", help="Print the resolved recipe as TOML, and stop.", rich_help_panel=LOOK),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="A few steps of everything: does it work, how long will it take, how much memory? Keeps nothing.",
        rich_help_panel=LOOK,
    ),
]
