"""Options that mean the same in every command that has them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from imgcls.cli.help.completion import complete_device, complete_model
from imgcls.errors import UsageError


class Runtime(StrEnum):
    """What runs the network."""

    AUTO = "auto"
    TORCH = "torch"
    ONNX = "onnx"


# Each is a thread or a process: a number typed by mistake must not take the machine down.
MOST_WORKERS = 1024


class ReportFormat(StrEnum):
    """How commands with one answer print it."""

    TABLE = "table"
    JSON = "json"


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A checkpoint, a run folder, an .onnx or .pt2 file, or a name that 'imgcls models' lists.",
        metavar="MODEL",
        envvar="IMGCLS_MODEL",
        autocompletion=complete_model,
        show_default=True,
    ),
]


class EnsembleHow(StrEnum):
    """What `--ensemble` takes."""

    MEAN = "mean"
    VOTE = "vote"


Ensemble = Annotated[
    EnsembleHow | None,
    typer.Option(
        "--ensemble",
        help="Several models (-m A -m B) answer together: the mean of their probabilities, or a vote each.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="A state_dict for a named network, in any of the usual wrappings.", metavar="FILE"),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="Class names of --weights or of an ONNX file: lines, JSON or CSV, in the order of the outputs.",
        metavar="FILE",
    ),
]
Ema = Annotated[bool, typer.Option("--ema", help="Take the EMA that the file of --weights holds.")]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto, cpu, cuda, cuda:1, mps or xpu.",
        metavar="DEVICE",
        show_default=True,
        autocompletion=complete_device,
    ),
]
RuntimeOption = Annotated[
    Runtime,
    typer.Option(
        "--runtime",
        help="torch, onnx (the model's ONNX twin, checked against it), or auto: the twin on a CPU where there is one.",
        show_default=True,
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Load a .pt2 file, which runs code that is in it: only one whose writer you trust.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=0, max=MOST_WORKERS, help="Threads or processes that decode; by default one per core."
    ),
]


def check_of_one_model(*, weights: Path | None, ema: bool, foreign: bool) -> None:
    """Refuse what one model of several would be told by.

    Args:
        weights: of `--weights`.
        ema: of `--ema`.
        foreign: whether anything was said of an ONNX file of another tool.
    Raises:
        UsageError: names it.
    """
    named = [name for name, is_given in (("--weights", weights is not None), ("--ema", ema)) if is_given]
    if foreign:
        named.append("what is told of another tool's ONNX file")
    if named:
        raise UsageError(
            f"{' and '.join(named)}: for one model, not for an ensemble",
            hint="imgcls export --to checkpoint makes a model of them that says itself what it is",
        )


Background = Annotated[
    str | None,
    typer.Option(
        "--background",
        help="What lies behind transparent images: white, black or #rrggbb; by default as the model was trained.",
        metavar="COLOUR",
        rich_help_panel="Decoding",
    ),
]
Depth = Annotated[
    int | None,
    typer.Option(
        "--depth",
        min=1,
        max=32,
        help="Bits that deep grey images use, such as 12 in files of 16; by default what each file says.",
        metavar="BITS",
        rich_help_panel="Decoding",
    ),
]


class Truncated(StrEnum):
    """What `--truncated` takes."""

    ERROR = "error"
    ACCEPT = "accept"


TruncatedOption = Annotated[
    Truncated | None,
    typer.Option(
        "--truncated",
        help="JPEGs that lack their last bytes: an error, or accepted with grey there; by default as the model "
        "was trained.",
        rich_help_panel="Decoding",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the answer here instead of to stdout.", metavar="FILE"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More messages on stderr.")]
ReportFormatOption = Annotated[
    ReportFormat, typer.Option("--format", "-f", help="How to print the answer.", show_default=True)
]


class Machine(NamedTuple):
    """What a command may use."""

    device: Device = "auto"
    workers: Workers = None


class Report(NamedTuple):
    """How a command with one answer prints it, and what it says meanwhile."""

    format_: ReportFormatOption = ReportFormat.TABLE
    quiet: Quiet = False
    verbose: Verbose = False
