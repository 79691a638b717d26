"""The options of `imgcls train` that make the recipe, grouped as its --help shows them."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from imgcls.cli import options
from imgcls.cli.help.completion import complete_model, complete_setting

START = "Initial weights"
RECIPE = "Recipe settings used most"

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="A TOML file, or a name that 'imgcls recipes' lists; else defaults.",
        metavar="RECIPE",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="cifar10, a folder of class folders, a table of labels, or archives.",
        metavar="DATA",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A name that 'imgcls models' lists, mlp, cnn, timm/NAME, or a trained model to start from; replaces the "
        "recipe's.",
        metavar="MODEL",
        autocompletion=complete_model,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any recipe setting; can be repeated.",
        metavar="SECTION.KEY=VALUE",
        autocompletion=complete_setting,
    ),
]
Pretrained = Annotated[
    bool,
    typer.Option("--pretrained", help="The model's published weights instead of random ones.", rich_help_panel=START),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="A plain state_dict, or a checkpoint.", metavar="FILE", rich_help_panel=START),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="Class names of --weights; its head is kept where they are those of the data.",
        metavar="FILE",
        rich_help_panel=START,
    ),
]
Ema = Annotated[
    bool,
    typer.Option("--ema", help="Take the EMA that the file of --weights holds.", rich_help_panel=START),
]
Freeze = Annotated[
    bool,
    typer.Option("--freeze", help="Train the head alone; the backbone stays frozen.", rich_help_panel=START),
]
FromScratch = Annotated[
    bool,
    typer.Option(
        "--from-scratch",
        help="Random weights, where trained ones would be fine-tuned by default.",
        rich_help_panel=START,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", help="Passes over the training images.", metavar="N", rich_help_panel=RECIPE),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", help="Images per step.", metavar="N", rich_help_panel=RECIPE)
]
LearningRate = Annotated[
    float | None,
    typer.Option("--lr", help="Learning rate at the schedule's peak.", metavar="X", rich_help_panel=RECIPE),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="Seed of weights, order, augmentation and validation split.",
        metavar="N",
        rich_help_panel=RECIPE,
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic", help="Identical results in every run, on a GPU too; slower.", rich_help_panel=RECIPE
    ),
]
MultiLabel = Annotated[
    bool | None,
    typer.Option(
        "--multi-label/--single-label",
        help="Take the labels of a table as any number per image, with semicolons between; else if a row has several.",
        show_default=False,
        rich_help_panel=RECIPE,
    ),
]
AllowModifiedData = Annotated[
    bool,
    typer.Option(
        "--allow-modified-data",
        help="Accept CIFAR-10 files with other checksums than the published ones.",
        rich_help_panel=RECIPE,
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse damaged images instead of skipping them.", rich_help_panel=RECIPE),
]
SplitSeed = Annotated[
    int | None,
    typer.Option(
        "--split-seed",
        help="Seed of the validation split alone, so that seeds can be compared on the same images; else --seed.",
        metavar="N",
        rich_help_panel=RECIPE,
    ),
]
GroupColumn = Annotated[
    str | None,
    typer.Option(
        "--group-column",
        help="Column of a table; rows with equal values stay on one side of the split, such as patient; else group.",
        metavar="NAME",
        rich_help_panel=RECIPE,
    ),
]
DataFixes = Annotated[
    Path | None,
    typer.Option(
        "--data-fixes",
        help="Leave out and relabel what this list says, as imgcls check --fix-list writes it; files stay.",
        metavar="FILE",
        rich_help_panel=RECIPE,
    ),
]


class RecipeOptions(NamedTuple):
    """What a run is asked to do: a recipe, and settings in its place."""

    config: Config = None
    data: Data = None
    model: Model = None
    pretrained: Pretrained = False
    weights: Weights = None
    labels: Labels = None
    ema: Ema = False
    freeze: Freeze = False
    from_scratch: FromScratch = False
    epochs: Epochs = None
    batch_size: BatchSize = None
    lr: LearningRate = None
    seed: Seed = None
    deterministic: Deterministic = False
    set_: Set = None
    allow_modified_data: AllowModifiedData = False
    strict: Strict = False
    data_fixes: DataFixes = None
    split_seed: SplitSeed = None
    group_column: GroupColumn = None
    multi_label: MultiLabel = None
    background: options.Background = None
    depth: options.Depth = None
    truncated: options.TruncatedOption = None

    def flags(self) -> dict[str, Any]:
        """Values by the recipe's dotted key, None for options that weren't given."""
        return {
            "data.source": self.data,
            "data.allow_modified": self.allow_modified_data or None,
            "data.split_seed": self.split_seed,
            "data.group_column": self.group_column,
            "data.multi_label": self.multi_label,
            "data.strict": self.strict or None,
            "data.fixes": str(self.data_fixes) if self.data_fixes is not None else None,
            "data.background": self.background,
            "data.depth_bits": self.depth,
            "data.truncated": self.truncated and self.truncated.value,
            "model.name": self.model,
            "model.pretrained": self.pretrained or None,
            "finetune.freeze": self.freeze or None,
            "model.weights": str(self.weights) if self.weights is not None else None,
            "model.labels": str(self.labels) if self.labels is not None else None,
            "model.ema": self.ema or None,
            "optim.lr": self.lr,
            "train.epochs": self.epochs,
            "train.batch_size": self.batch_size,
            "train.seed": self.seed,
            "train.deterministic": self.deterministic or None,
        }
