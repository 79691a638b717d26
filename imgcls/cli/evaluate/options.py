"""The options of `imgcls eval`, in groups."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from imgcls.cli import options
from imgcls.cli.help.completion import complete_model
from imgcls.errors import UsageError


class Split(StrEnum):
    """Which part of the data to measure on."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Views(StrEnum):
    """`TestTimeAugmentation`, without what that imports."""

    FLIP = "flip"
    FLIP_SHIFT = "flip+shift"


class Order(StrEnum):
    """Of the rows of the table of classes."""

    CLASS = "class"
    ACCURACY = "accuracy"


Model = Annotated[
    str | None,
    typer.Argument(
        help="A checkpoint, run folder, .onnx file, or a name that 'imgcls models' lists.",
        metavar="MODEL",
        autocompletion=complete_model,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="The same, named as in the other commands.",
        metavar="MODEL",
        autocompletion=complete_model,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="cifar10, a folder of class folders or a table of labels; by default what the model was trained on.",
        metavar="DATA",
    ),
]
SplitOption = Annotated[
    Split | None, typer.Option("--split", help="By default test, else val, else all of a folder without splits.")
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Images per forward pass; by default by their size.")
]
TestTime = Annotated[
    Views | None,
    typer.Option("--tta", help="Average the logits of the image and its horizontal flip, or of six views."),
]
Sort = Annotated[Order, typer.Option("--sort", help="Classes in the model's order, or the worst first (table).")]
Confusion = Annotated[
    Path | None, typer.Option("--confusion", help="Also write the confusion matrix, as CSV.", metavar="FILE")
]
AllowModified = Annotated[
    bool,
    typer.Option("--allow-modified-data", help="Accept CIFAR-10 files with other checksums than the published ones."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse damaged images instead of skipping them.")]


class MeasureOptions(NamedTuple):
    """Which model is measured, on which images, and how."""

    model: Model = None
    model_option: ModelOption = None
    data: Data = None
    split: SplitOption = None
    weights: options.Weights = None
    ema: options.Ema = False
    batch_size: BatchSize = None
    runtime: options.RuntimeOption = options.Runtime.AUTO
    tta: TestTime = None
    allow_modified_data: AllowModified = False
    strict: Strict = False
    truncated: options.TruncatedOption = None

    @property
    def accepts_truncated(self) -> bool | None:
        """Whether JPEGs that lack their last bytes are measured too; None as the model was trained."""
        return None if self.truncated is None else self.truncated is options.Truncated.ACCEPT

    @property
    def spec(self) -> str:
        """The one model.

        Raises:
            UsageError: none, or two.
        """
        if (self.model is None) == (self.model_option is None):
            raise UsageError("name one model", hint="imgcls eval runs/my-run, or imgcls eval alexnet --data DIR")
        return self.model or self.model_option or ""


class AnswerOptions(NamedTuple):
    """Where the answer goes, and in which order its classes stand."""

    sort: Sort = Order.CLASS
    output: options.Output = None
    confusion: Confusion = None

    def check(self) -> None:
        """See that each file gets one answer.

        Raises:
            UsageError: both go to the same file.
        """
        if self.confusion is None or self.output is None or self.confusion.resolve() != self.output.resolve():
            return
        raise UsageError(
            f"--output and --confusion both name {self.output}", hint=f"--confusion {self.output.stem}-confusion.csv"
        )
