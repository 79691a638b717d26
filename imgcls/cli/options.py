"""Options that mean the same in every command that has them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer


class ReportFormat(StrEnum):
    """How commands with one answer print it."""

    TABLE = "table"
    JSON = "json"


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A checkpoint, a run folder, an .onnx file, a bundled model (cifar10-cnn) or a torchvision name.",
        metavar="MODEL",
        show_default=True,
    ),
]
Weights = Annotated[
    Optional[Path],  # noqa: UP045 - Typer reads it at run time
    typer.Option("--weights", help="A plain state_dict for a torchvision architecture.", metavar="FILE"),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps or xpu.", metavar="DEVICE", show_default=True)
]
Workers = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--workers", min=0, help="Threads or processes that decode; by default one per core."),
]
Output = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--output", "-o", help="Write the answer here instead of to stdout.", metavar="FILE"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors and warnings.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")]
ReportFormatOption = Annotated[
    ReportFormat, typer.Option("--format", "-f", help="How to print the answer.", show_default=True)
]
