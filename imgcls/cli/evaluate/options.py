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
    """Of the classes in the table, and of the images in --errors."""

    CLASS = "class"
    ACCURACY = "accuracy"
    LOSS = "loss"


Model = Annotated[
    str | None,
    typer.Argument(
        help="A checkpoint, run folder, .onnx or .pt2 file, or a name that 'imgcls models' lists.",
        metavar="MODEL",
        autocompletion=complete_model,
    ),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="The same, named as in the other commands. Several with --ensemble.",
        metavar="MODEL",
        autocompletion=complete_model,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="cifar10, class folders, a table of labels or archives; by default what the model was trained on.",
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
Sort = Annotated[
    Order, typer.Option("--sort", help="The worst classes first, by accuracy or loss; loss sorts --errors too.")
]
Confusion = Annotated[
    Path | None, typer.Option("--confusion", help="Also write the confusion matrix, as CSV.", metavar="FILE")
]
Errors = Annotated[
    Path | None,
    typer.Option(
        "--errors",
        help="Also write each image with its true class, answers, margin and loss: .csv, .jsonl or .parquet.",
        metavar="FILE",
        readable=False,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        help="Also write a page to look through: figures, confusions, calibration, images. Needs no network.",
        metavar="FILE",
        readable=False,
    ),
]
HeatMaps = Annotated[
    int | None,
    typer.Option(
        "--heat-maps",
        min=0,
        help="Images of --html that get a heat map of what speaks for their class; by default 100, with ONNX 12.",
        metavar="N",
    ),
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
    ensemble: options.Ensemble = None
    data: Data = None
    split: SplitOption = None
    weights: options.Weights = None
    ema: options.Ema = False
    batch_size: BatchSize = None
    runtime: options.RuntimeOption = options.Runtime.AUTO
    allow_code: options.AllowCode = False
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
        """The one model, or the first of an ensemble.

        Raises:
            UsageError: none, or two that don't answer together.
        """
        if self.ensemble is None and len(self.names) != 1:
            hint = "imgcls eval runs/my-run, or imgcls eval alexnet --data DIR"
            raise UsageError("name one model", hint="--ensemble mean measures them together" if self.names else hint)
        return self.names[0] if self.names else ""

    @property
    def names(self) -> tuple[str, ...]:
        """All models."""
        return (*([self.model] if self.model is not None else []), *(self.model_option or ()))


class AnswerOptions(NamedTuple):
    """Where the answer goes, and in which order its classes stand."""

    sort: Sort = Order.CLASS
    output: options.Output = None
    confusion: Confusion = None
    errors: Errors = None
    html: Html = None
    heat_maps: HeatMaps = None

    def check_several_labels(self) -> None:
        """Refuse what only one label per image has, before images are run.

        Raises:
            UsageError: names the option.
        """
        for option in ("confusion", "html", "heat_maps"):
            if getattr(self, option) is not None:
                name = option.replace("_", "-")
                raise UsageError(
                    f"--{name} is for one label per image, and these images have several",
                    hint=f"leave out --{name}; --errors answers.csv names each image's labels",
                )

    def check(self) -> None:
        """See that each file gets one answer, and that each format can be written.

        Raises:
            UsageError: two go to the same file, or a suffix stands for no format.
        """
        named: dict[Path, str] = {}
        for option in ("output", "confusion", "errors", "html"):
            path: Path | None = getattr(self, option)
            if path is None:
                continue
            if (other := named.get(path.resolve())) is not None:
                suffix = ".csv" if option in ("confusion", "errors") else path.suffix
                raise UsageError(
                    f"--{other} and --{option} both name {path}",
                    hint=f"--{option} {path.with_name(f'{path.stem}-{option}{suffix}')}",
                )
            named[path.resolve()] = option
        if self.errors is not None:
            from imgcls.evaluation.answers import check_suffix

            check_suffix(self.errors)
