"""`imgcls compare`: training runs beside each other, or two models on the same images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgcls.cli import console, options
from imgcls.cli.compare.paired import PairedOptions
from imgcls.cli.help.option_groups import grouped
from imgcls.host.data_files import json_text
from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from imgcls.runs.comparison import Comparison

EXAMPLE = "Example: imgcls compare runs/*   or: imgcls compare runs/a runs/b --data pets/ --html differences.html"

Runs = Annotated[
    list[Path],
    typer.Argument(help="Run folders that train made, also of runs in progress; with --data two models.",
                   metavar="RUN"),
]  # fmt: skip
Plot = Annotated[
    Path | None,
    typer.Option("--plot", help="Also draw all curves into one image: .png, .svg or .pdf.", metavar="FILE"),
]


@grouped
def compare(
    paired: PairedOptions,
    runs: Runs,
    plot: Plot = None,
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Show training runs beside each other, the best first; or, with --data, two models on the same images."""
    console.quiet = quiet
    paired.check(runs, plot)
    if paired.data is not None:
        paired.run([str(path) for path in runs], format_)
        return
    from imgcls.cli.compare.table import runs_table
    from imgcls.runs.comparison import compare_runs

    found = compare_runs(runs)
    for path in found.passed_over:
        console.warn(f"{path} is not the folder of a run; passed over")
    if plot is not None:
        _draw(found, plot)
    console.use_utf8_stdout()
    if format_ is options.ReportFormat.JSON:
        console.data(json_text(found.to_dict()))
    else:
        console.data(runs_table(found, colour=console.stdout_has_colour()))


def _draw(found: "Comparison", plot: Path) -> None:
    from imgcls.runs.curves import draw_curves

    measured = [run for run in found.runs if run.metrics]
    for run in found.runs:
        if not run.metrics:
            console.warn(f"no epoch of {run.path} has ended yet; it is not in {plot}")
    if measured:
        draw_curves({str(run.path): run.metrics for run in measured}, plot)
        console.message(f"curves of {counted(len(measured), 'run')}: {plot}")
