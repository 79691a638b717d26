"""The columns of the live table, and its rows as text."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from imgcls.cli.train.lines import clock
from imgcls.evaluation.guesses import TOP_K
from imgcls.runs.events import EpochEnd, Started

GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes:
        title: above the figures.
        width: of title and figures.
        rank: the highest go first where the terminal is too narrow for all.
        text: the figure.
    """

    title: str
    width: int
    rank: int
    text: Callable[[EpochEnd], str]


def columns_for(started: Started, *, width: int) -> list[Column]:
    """The columns that fit beside each other.

    Args:
        started: says whether there are validation images, and how many epochs.
        width: of the terminal, in characters.
    """
    digits = len(str(started.epochs))
    columns = [
        Column("epoch", max(2 * digits + 1, 5), 0, lambda e: f"{e.epoch}/{started.epochs}"),
        Column("train loss", 10, 1, lambda e: f"{e.train_loss:.4f}"),
    ]
    if started.validates_on is not None:
        columns += [
            Column(f"{started.validates_on} loss", 9, 3, lambda e: number(e.loss, ".4f")),
            # Room for the star of the best epoch.
            Column(f"{score_name(started)} ", 8, 2, lambda e: number(e.score.main, ".2%") + " "),
        ]
        # Of five classes or fewer the first five guesses are always right.
        if started.num_classes > TOP_K and not started.is_multi_label:
            columns.append(Column("top-5", 7, 7, lambda e: number(e.top5, ".2%")))
    columns += [
        Column("lr", 8, 5, lambda e: f"{e.lr:.2e}"),
        Column("images/s", 8, 4, lambda e: f"{e.images_per_sec:,.0f}"),
        Column("train s", 7, 6, lambda e: f"{e.seconds:,.1f}"),
    ]
    if started.validates_on is not None:
        columns.append(Column(f"{started.validates_on} s", 6, 8, lambda e: number(e.validation_sec, ",.1f")))
    columns.append(Column("elapsed", 8, 9, lambda e: clock(e.elapsed_sec)))
    while len(columns) > 1 and sum(column.width for column in columns) + len(GAP) * (len(columns) - 1) > width:
        columns.remove(max(columns, key=lambda column: column.rank))
    return columns


def score_name(started: Started) -> str:
    """What is measured on the validation images beside the loss."""
    return "mAP" if started.is_multi_label else "top-1"


def number(value: float | None, how: str) -> str:
    """A figure, or a dash for none."""
    return "-" if value is None else format(value, how)


def header(columns: list[Column]) -> Text:
    """The titles, and a rule below them."""
    titles = GAP.join(column.title.rjust(column.width) for column in columns)
    return Text.assemble((titles, "bold"), "\n", GAP.join("-" * column.width for column in columns))


def row(event: EpochEnd, columns: list[Column], *, is_best: bool) -> Text:
    """An epoch's figures; the best epoch so far has a star."""
    line = Text()
    for column in columns:
        text = column.text(event).rjust(column.width)
        if is_best and column.title in ("top-1 ", "mAP "):
            line.append(text[:-1] + "*", style="bold")
        else:
            line.append(text)
        line.append(GAP)
    line.rstrip()
    return line
