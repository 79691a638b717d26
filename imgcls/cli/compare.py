"""`imgcls compare`: training runs beside each other, as a table and as curves."""

import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgcls.cli import console, options
from imgcls.host.data_files import json_text
from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from imgcls.runs.comparison import Comparison

EXAMPLE = "Example: imgcls compare runs/*   or: imgcls compare runs/a runs/b --plot curves.png"
# Where the answer goes to a file or a pipe, nobody's window limits it.
WIDTH = 120
SPARKLINE_WIDTH = 12


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders that train made, also of runs in progress.", metavar="RUN"),
    ],
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Also draw all curves into one image: .png, .svg or .pdf.", metavar="FILE"),
    ] = None,
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Show training runs beside each other, the best first: figures, time, and in which settings they differ."""
    console.quiet = quiet
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
        console.data(_table(found, colour=console.stdout_has_colour()))


def _draw(found: "Comparison", plot: Path) -> None:
    from imgcls.runs.curves import draw_curves

    measured = [run for run in found.runs if run.metrics]
    for run in found.runs:
        if not run.metrics:
            console.warn(f"no epoch of {run.path} has ended yet; it is not in {plot}")
    if measured:
        draw_curves({str(run.path): run.metrics for run in measured}, plot)
        console.message(f"curves of {counted(len(measured), 'run')}: {plot}")


def _table(found: "Comparison", *, colour: bool) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from imgcls.cli.shield import ShieldedConsole
    from imgcls.cli.train.lines import clock
    from imgcls.cli.train.sparkline import sparkline

    out = io.StringIO()
    width = shutil.get_terminal_size().columns if colour else WIDTH
    terminal = ShieldedConsole(file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    for title in ("top-1", "epoch", "loss", "test", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    if found.keys:
        table.add_column("settings that differ", overflow="fold")
    for run in found.runs:
        best = run.best
        scores = [line["top1"] for line in run.metrics if line["top1"] is not None]
        row = [
            str(run.path),
            _percent(best.top1 if best else None),
            f"{best.epoch}/{run.settings.get('train.epochs', '?')}" if best else "-",
            f"{best.loss:.4f}" if best and best.loss is not None else "-",
            _percent(run.test_top1),
            clock(run.train_sec),
            sparkline(scores, SPARKLINE_WIDTH),
        ]
        if found.keys:
            row.append("  ".join(f"{key} {json.dumps(run.settings.get(key))}" for key in found.keys))
        table.add_row(*map(Text, row))
    terminal.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
