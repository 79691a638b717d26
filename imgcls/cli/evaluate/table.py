"""The answer of `imgcls eval` for people."""

import io
import shutil
from typing import TYPE_CHECKING

from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from imgcls.datasets.labelled_images import DataDescription
    from imgcls.evaluation.report import EvalReport

# Where the answer goes to a file or a pipe, nobody's window limits it.
WIDTH = 100


def render_report(report: "EvalReport", *, colour: bool, worst_first: bool = False) -> str:
    """Overall figures, the classes that the data has, and the largest confusions.

    Args:
        report: what was measured.
        colour: escape codes for a terminal, as wide as it is.
        worst_first: the classes by rising accuracy, instead of in the model's order.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from imgcls.cli.shield import ShieldedConsole

    result = report.result
    out = io.StringIO()
    width = shutil.get_terminal_size().columns if colour else WIDTH
    console = ShieldedConsole(
        file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False, markup=False
    )
    title = f"{report.model['id']} on {describe_data(report.data)}, {counted(result.count, 'image')}"
    console.print(Text(title), style="bold", soft_wrap=True)
    k = min(5, len(result.labels))
    console.print(f"top-1  {result.top1:8.2%}   {result.correct:,} of {result.count:,}")
    # Among as many guesses as there are classes, every image is right.
    if k < len(result.labels):
        console.print(f"top-{k}  {result.top5:8.2%}   {result.top5_correct:,} of {result.count:,}")
    console.print(f"loss   {result.loss:8.4f}")
    if report.tta is not None:
        console.print(f"each the mean of {report.tta.num_views} views' logits (--tta {report.tta})")
    classes = Table("class", box=SIMPLE_HEAD, pad_edge=False)
    for title in ("accuracy", "correct", "images"):
        classes.add_column(title, justify="right")
    measured = [(each, each.accuracy) for each in result.classes if each.accuracy is not None]
    for each, accuracy in sorted(measured, key=lambda pair: pair[1]) if worst_first else measured:
        classes.add_row(Text(each.label), f"{accuracy:.2%}", f"{each.correct:,}", f"{each.count:,}")
    console.print(classes)
    confusions = report.largest_confusions()
    if confusions:
        table = Table("true class", "taken for", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("images", justify="right")
        table.add_column("of the class", justify="right")
        for kind in confusions:
            table.add_row(Text(kind.true), Text(kind.guessed), f"{kind.num_images:,}", f"{kind.share:.2%}")
        console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip()


def describe_data(data: "DataDescription") -> str:
    """The data set in words; figures on altered CIFAR-10 must not pass for figures on the published one."""
    name = "CIFAR-10" if data.name == "cifar10" else data.name
    split = "" if data.split == "all" else f" {data.split}"
    note = " (modified: its files are not the published ones, re-encoded perhaps)" if data.modified else ""
    return f"{name}{split}{note}"
