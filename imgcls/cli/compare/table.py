"""The answers of `imgcls compare` for people, readable in 80 columns."""

import io
import json
import shutil
from typing import TYPE_CHECKING

from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from imgcls.cli.shield import ShieldedConsole
    from imgcls.evaluation.comparison import PairedComparison, PairedImage
    from imgcls.runs.comparison import Comparison

# Where the answer goes to a file or a pipe, nobody's window limits it.
WIDTH = 120
# The trend of the accuracy; shorter where the window is narrow.
SPARKLINE_WIDTH, NARROW_SPARKLINE_WIDTH, WIDE = 12, 6, 100
# Images on which two models differ, of each kind; -f json names them all.
SHOWN = 5


def runs_table(found: "Comparison", *, colour: bool) -> str:
    """One row per run, the settings in which they differ below, and those that all share at the end.

    Args:
        found: the runs.
        colour: escape codes for a terminal, as wide as it is.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from imgcls.cli.train.lines import clock
    from imgcls.cli.train.sparkline import sparkline
    from imgcls.runs.metrics import score_of

    out = io.StringIO()
    terminal = _terminal(out, colour=colour)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("run", overflow="fold")
    names = {run.best.name for run in found.runs if run.best is not None}
    for title in (" or ".join(sorted(names)) or "top-1", "epoch", "loss", "test", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for number, run in enumerate(found.runs, 1):
        best = run.best
        scores = [value for line in run.metrics if (value := score_of(line).main) is not None]
        row = [
            str(number),
            str(run.path),
            _percent(best.main if best else None),
            f"{best.epoch}/{run.settings.get('train.epochs', '?')}" if best else "-",
            f"{best.loss:.4f}" if best and best.loss is not None else "-",
            _percent(run.test_top1),
            clock(run.train_sec),
            sparkline(scores, SPARKLINE_WIDTH if terminal.width >= WIDE else NARROW_SPARKLINE_WIDTH),
        ]
        table.add_row(*map(Text, row))
    terminal.print(table)
    if found.keys:
        differing = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        differing.add_column("", justify="right", no_wrap=True)
        differing.add_column("settings that differ", overflow="fold")
        for number, run in enumerate(found.runs, 1):
            differing.add_row(str(number), Text(_settings({key: run.settings.get(key) for key in found.keys})))
        terminal.print(differing)
    if len(found.runs) > 1 and found.common:
        terminal.print(Text(f"the same in all: {_settings(found.common)}"))
    return _lines(out)


def paired_table(found: "PairedComparison", *, colour: bool) -> str:
    """The four counts, the difference with its interval, and some of the images on which the models differ.

    Args:
        found: the models.
        colour: escape codes for a terminal, as wide as it is.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from imgcls.cli.evaluate.table import describe_data

    out = io.StringIO()
    terminal = _terminal(out, colour=colour)
    count = len(found.images)
    title = f"A {found.report_a.model['id']} and B {found.report_b.model['id']} on {describe_data(found.report_a.data)}"
    terminal.print(Text(f"{title}, {counted(count, 'image')}"), style="bold", soft_wrap=True)
    right_a, right_b = found.both + len(found.only_a), found.both + len(found.only_b)
    low, high = found.interval
    lines = (
        ("A is right", f"{right_a:,}", f"{right_a / count:.2%}"),
        ("B is right", f"{right_b:,}", f"{right_b / count:.2%}"),
        ("both", f"{found.both:,}", f"{found.both / count:.2%}"),
        ("only A", f"{len(found.only_a):,}", f"{len(found.only_a) / count:.2%}"),
        ("only B", f"{len(found.only_b):,}", f"{len(found.only_b) / count:.2%}"),
        ("neither", f"{found.neither:,}", f"{found.neither / count:.2%}"),
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    terminal.print(table)
    terminal.print(
        f"B less A: {100 * found.difference:+.2f} points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}; "
        f"McNemar's exact p = {_p_text(found.p_value)}",
        soft_wrap=True,
    )
    for title, images in (("only A is right", found.only_a), ("only B is right", found.only_b)):
        if images:
            terminal.print(_images(title, images, Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))))
    return _lines(out)


def _images(title: str, images: "list[PairedImage]", table: "Table") -> "Table":
    from rich.text import Text

    more = f" ({SHOWN} of {len(images):,})" if len(images) > SHOWN else ""
    table.add_column(title + more, overflow="fold", ratio=2)
    for name in ("true class", "A says", "B says"):
        table.add_column(name, overflow="fold")
    for each in images[:SHOWN]:
        table.add_row(
            Text(each.name),
            Text(each.label),
            Text(f"{each.guess_a} {each.probability_a:.0%}"),
            Text(f"{each.guess_b} {each.probability_b:.0%}"),
        )
    return table


def _p_text(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"


def _settings(values: dict[str, object]) -> str:
    return "  ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())


def _terminal(out: io.StringIO, *, colour: bool) -> "ShieldedConsole":
    from imgcls.cli.shield import ShieldedConsole

    width = shutil.get_terminal_size().columns if colour else WIDTH
    return ShieldedConsole(
        file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False, markup=False
    )


def _lines(out: io.StringIO) -> str:
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
