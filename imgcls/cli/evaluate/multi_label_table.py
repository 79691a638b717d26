"""The answer of `imgcls eval` for people, where images have several labels."""

import io
import shutil
from typing import TYPE_CHECKING

from imgcls.cli.evaluate.table import WIDTH, describe_data
from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from imgcls.evaluation.multi_label.report import MultiLabelReport

# Name, key, and whether it is shown as a percentage.
SUMMARY = (
    ("mAP", "map", True),
    ("F1, macro", "f1_macro", True),
    ("F1, micro", "f1_micro", True),
    ("precision, micro", "precision_micro", True),
    ("recall, micro", "recall_micro", True),
    ("exact match", "exact_match", True),
    ("Hamming loss", "hamming_loss", False),
    ("ROC-AUC, macro", "roc_auc_macro", False),
    ("loss", "loss", False),
)


def render_multi_label(report: "MultiLabelReport", *, colour: bool, sort: str = "class") -> str:
    """Overall figures, and each class with its own.

    Args:
        report: what was measured.
        colour: escape codes for a terminal, as wide as it is.
        sort: the classes in the model's order (`class`), by rising average precision (`accuracy`), or by falling
            `loss`.
    """
    from rich.table import Table
    from rich.text import Text

    from imgcls.cli.shield import ShieldedConsole

    out = io.StringIO()
    width = shutil.get_terminal_size().columns if colour else WIDTH
    console = ShieldedConsole(
        file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False, markup=False
    )
    title = (
        f"{report.model['id']} on {describe_data(report.data)}, {counted(report.result.count, 'image')}, "
        "several labels per image"
    )
    console.print(Text(title), style="bold", soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    for _ in range(2):
        table.add_column(justify="right", no_wrap=True)
    for name, key, is_percentage in SUMMARY:
        value, interval = report.figures.values.get(key), report.figures.intervals.get(key)
        if value is None:
            continue
        ends = f"{_said(interval.low, is_percentage)} to {_said(interval.high, is_percentage)}" if interval else ""
        table.add_row(name, _said(value, is_percentage) + ("%" if is_percentage else ""), ends)
    console.print(table)
    if report.tta is not None:
        console.print(f"each the mean of {report.tta.num_views} views' probabilities (--tta {report.tta})")
    console.print(_classes(report, sort))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip()


def _classes(report: "MultiLabelReport", sort: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table("class", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    titles = ("AP", "threshold", "precision", "recall", "F1", *(("loss",) if sort == "loss" else ()), "right", "images")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    rows = [each for each in report.figures.classes if each.count or each.guessed]
    if sort == "accuracy":
        rows.sort(key=lambda each: each.average_precision or 0.0)
    elif sort == "loss":
        rows.sort(key=lambda each: -(each.loss or 0.0))
    for each in rows:
        cells = [_percent(each.average_precision), f"{each.threshold:.3f}"]
        cells += [_percent(value) for value in (each.precision, each.recall, each.f1)]
        if sort == "loss":
            cells.append("-" if each.loss is None else f"{each.loss:.4f}")
        table.add_row(Text(each.label), *cells, f"{each.right:,}", f"{each.count:,}")
    return table


def _said(number: float, is_percentage: bool) -> str:
    return f"{100 * number:.2f}" if is_percentage else f"{number:.4f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
