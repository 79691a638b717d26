"""The answer of `imgcls eval` for people."""

import io
import shutil
from typing import TYPE_CHECKING

from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from imgcls.datasets.labelled_images import DataDescription
    from imgcls.evaluation.report import EvalReport

# Where the answer goes to a file or a pipe, nobody's window limits it.
WIDTH = 100


# The figures below accuracy: name, key, and whether it is shown as a percentage.
SUMMARY = (
    ("balanced accuracy", "balanced_accuracy", True),
    ("precision, macro", "precision_macro", True),
    ("F1, macro", "f1_macro", True),
    ("F1, weighted", "f1_weighted", True),
    ("MCC", "mcc", False),
    ("ROC-AUC, macro", "roc_auc_macro", False),
    ("average precision", "average_precision_macro", False),
    ("Brier score", "brier", False),
    ("ECE", "ece", True),
    ("ECE, classwise", "classwise_ece", True),
)


def render_report(report: "EvalReport", *, colour: bool, sort: str = "class") -> str:
    """Overall figures, the classes that the data has, and the largest confusions.

    Args:
        report: what was measured.
        colour: escape codes for a terminal, as wide as it is.
        sort: the classes in the model's order (`class`), by rising `accuracy`, or by falling `loss`.
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
    console.print(_summary(report))
    if report.tta is not None:
        console.print(f"each the mean of {report.tta.num_views} views' logits (--tta {report.tta})")
    console.print(_classes(report, sort))
    confusions = report.largest_confusions()
    if confusions:
        table = Table("true class", "taken for", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("images", justify="right")
        table.add_column("of the class", justify="right")
        for kind in confusions:
            table.add_row(Text(kind.true), Text(kind.guessed), f"{kind.num_images:,}", f"{kind.share:.2%}")
        console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip()


def _summary(report: "EvalReport") -> "Table":
    from rich.table import Table

    result, figures = report.result, report.figures
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    counts = {"top1": f"{result.correct:,} of {result.count:,}", "top5": f"{result.top5_correct:,} of {result.count:,}"}
    # Among as many guesses as there are classes, every image is right.
    first = [("top-1", "top1", True), *([("top-5", "top5", True)] if "top5" in figures.values else [])]
    for name, key, is_percentage in (*first, ("loss", "log_loss", False), *SUMMARY):
        value, interval = figures.values.get(key), figures.intervals.get(key)
        if key == "log_loss":
            value = result.loss
        if value is None:
            continue

        def said(number: float, is_percentage: bool = is_percentage) -> str:
            return f"{100 * number:.2f}" if is_percentage else f"{number:.4f}"

        ends = f"{said(interval.low)} to {said(interval.high)}" if interval else ""
        table.add_row(name, said(value) + ("%" if is_percentage else ""), ends, counts.get(key, ""))
    return table


def _classes(report: "EvalReport", sort: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table("class", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("accuracy", "95 %", "precision", "F1", *(("loss",) if sort == "loss" else ()), "correct", "images"):
        table.add_column(title, justify="right", no_wrap=True)
    rows = [
        (each, more)
        for each, more in zip(report.result.classes, report.figures.classes, strict=True)
        if each.accuracy is not None
    ]
    if sort == "accuracy":
        rows.sort(key=lambda row: row[0].accuracy or 0.0)
    elif sort == "loss":
        rows.sort(key=lambda row: -(row[1].loss or 0.0))
    for each, more in rows:
        ends = (more.intervals or {}).get("recall")
        cells = [_percent(each.accuracy), f"{100 * ends.low:.1f} to {100 * ends.high:.1f}" if ends else ""]
        cells += [_percent(more.precision), _percent(more.f1)]
        if sort == "loss":
            cells.append("-" if more.loss is None else f"{more.loss:.4f}")
        table.add_row(Text(each.label), *cells, f"{each.correct:,}", f"{each.count:,}")
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def describe_data(data: "DataDescription") -> str:
    """The data set in words; figures on altered CIFAR-10 must not pass for figures on the published one."""
    name = "CIFAR-10" if data.name == "cifar10" else data.name
    split = "" if data.split == "all" else f" {data.split}"
    note = " (modified: its files are not the published ones, re-encoded perhaps)" if data.modified else ""
    return f"{name}{split}{note}"
