"""The options of `imgcls train` about the run itself: its folder, its time, and what is done in its place."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from imgcls.cli.max_time import max_time_option

RUN = "Run folder and time"
LOOK = "Checks before a run"

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="The run's folder; by default runs/<recipe>-<date>-<time>.",
        metavar="DIR",
        rich_help_panel=RUN,
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        help="Continue an interrupted run; the result is that of a run in one go.",
        metavar="RUN",
        rich_help_panel=RUN,
    ),
]
MaxTime = Annotated[str | None, max_time_option(RUN)]
TensorBoard = Annotated[
    bool,
    typer.Option("--tensorboard", help="Also write RUN/tensorboard, for tensorboard --logdir.", rich_help_panel=RUN),
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        min=2,
        max=100,
        help="Cross-validate: train this many runs, each validated on another part; mean and standard deviation.",
        metavar="K",
        rich_help_panel=RUN,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option("--print-config", help="Print the resolved recipe as TOML, and stop.", rich_help_panel=LOOK),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Try a few steps: does it work, how long does it take, how much memory? Writes nothing.",
        rich_help_panel=LOOK,
    ),
]


class RunOptions(NamedTuple):
    """Where a run leaves its results, how long it may take, and what is done in its place."""

    output: Output = None
    resume: Resume = None
    max_time: MaxTime = None
    tensorboard: TensorBoard = False
    folds: Folds = None
    print_config: PrintConfig = False
    dry_run: DryRun = False
