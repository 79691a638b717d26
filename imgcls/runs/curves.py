"""Runs as curves over their epochs: loss, accuracy, learning rate; the only module that imports matplotlib."""

import importlib.util
import logging
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls.errors import UsageError
from imgcls.host.files import replacing
from imgcls.runs.metrics import best_score, read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "curves.png"
FORMATS = (".png", ".svg", ".pdf")
# Told apart with any kind of colour vision, on paper too. Source: Okabe and Ito 2008, "Color Universal Design", without
# its yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")
SIZE_INCHES = (10, 6.5)
DPI = 120
# Characters of a title's line, so that a long name of a folder isn't cut off.
TITLE_WIDTH = 100
LABEL_WIDTH = 40
# Few points are marked, many would only blot the line.
MOST_MARKED = 40
# A loss that falls by more than this would be a flat line after its first epochs.
LOG_SCALE_FROM = 50.0

SPLITS = {"val": "validation", "test": "test"}

Metrics = Sequence[Mapping[str, Any]]


def has_matplotlib() -> bool:
    """Whether curves can be drawn; doesn't import matplotlib, which takes a while."""
    return importlib.util.find_spec("matplotlib") is not None


def require_matplotlib() -> None:
    """Say how to get matplotlib where it is missing.

    Raises:
        UsageError: it isn't installed.
    """
    if not has_matplotlib():
        raise UsageError("drawing curves needs matplotlib, which is not installed", hint="pip install 'imgcls[plots]'")


def draw_run(run: Path) -> Path | None:
    """Draw a run's metrics.jsonl as curves.png in the same folder.

    Returns:
        The image, or None where no epoch has ended yet.
    Raises:
        UsageError: matplotlib isn't installed.
        OutputError: it can't be written.
    """
    metrics = read_metrics(run)
    if not metrics:
        return None
    draw_curves({run.absolute().name: metrics}, run / NAME)
    return run / NAME


def draw_curves(runs: Mapping[str, Metrics], path: Path) -> None:
    """Draw one or several runs into one image.

    Args:
        runs: the lines of their metrics.jsonl, by the name that they have in the image; at least one line each.
        path: ends in .png, .svg or .pdf.
    Raises:
        UsageError: matplotlib isn't installed, or another ending.
        OutputError: it can't be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"can't draw {path}: its name must end in {', '.join(FORMATS)}", hint="name it curves.png")
    require_matplotlib()
    with _undisturbed():
        figure = build_figure(runs)
        with replacing(path) as part:
            figure.savefig(part, format=path.suffix.lower()[1:], dpi=DPI)


def build_figure(runs: Mapping[str, Metrics]) -> "Figure":
    """The image, not yet written; see `draw_curves`.

    It is made without pyplot, whose state belongs to whoever else draws in this process.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    splits = sorted({SPLITS[line["split"]] for metrics in runs.values() for line in metrics if line.get("split")})
    held_out = " or ".join(splits)
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 1))
    loss = figure.add_subplot(grid[0, 0] if held_out else grid[0, :])
    rate = figure.add_subplot(grid[1, :])
    _draw_losses(loss, runs, held_out)
    if held_out:
        top1 = figure.add_subplot(grid[0, 1])
        several = any(line.get("map") is not None for metrics in runs.values() for line in metrics)
        key, title = ("map", "mAP") if several else ("top1", "top-1")
        top1.set_title(title)
        top1.set_ylabel("mean average precision" if several else "images classified correctly")
        top1.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        for number, (name, metrics) in enumerate(runs.items()):
            colour, style = (COLOURS[1], "-") if len(runs) == 1 else _look(number)
            if len(runs) == 1:
                name = held_out
                _line(top1, metrics, "train_top1", label="training", color=COLOURS[0])
            _line(top1, metrics, key, label=_short(name), color=colour, linestyle=style)
            score, epoch = _mark_kept(top1, metrics, colour)
            if len(runs) == 1:
                top1.set_title(f"{title}, kept: {score:.2%} (epoch {epoch})")
        top1.legend(fontsize="small", loc="lower right")
    rate.set_ylabel("learning rate")
    for number, metrics in enumerate(runs.values()):
        colour, style = _look(number)
        _line(rate, metrics, "lr", color=colour, linestyle=style)
    num_epochs = max(metrics[-1]["epoch"] for metrics in runs.values())
    for axes in figure.axes:
        _finish(axes, num_epochs=num_epochs)
    name = next(iter(runs)) if len(runs) == 1 else f"{len(runs)} runs"
    figure.suptitle("\n".join(textwrap.wrap(name, TITLE_WIDTH)), fontsize="medium")
    return figure


def _draw_losses(axes: "Axes", runs: Mapping[str, Metrics], held_out: str) -> None:
    if len(runs) == 1:
        (metrics,) = runs.values()
        axes.set_title("loss")
        _line(axes, metrics, "train_loss", label="training", color=COLOURS[0])
        _line(axes, metrics, "loss", label=held_out, color=COLOURS[1])
    else:
        axes.set_title(f"{held_out} (thick), training (thin)" if held_out else "training")
        for number, (name, metrics) in enumerate(runs.items()):
            colour, style = _look(number)
            label = {} if held_out else {"label": _short(name)}
            _line(axes, metrics, "train_loss", color=colour, linestyle=style, linewidth=0.7, marker="", **label)
            _line(axes, metrics, "loss", label=_short(name), color=colour, linestyle=style)
    axes.set_ylabel("cross-entropy loss")
    axes.legend(fontsize="small")
    losses = [line[key] for metrics in runs.values() for line in metrics for key in ("train_loss", "loss") if line[key]]
    if losses and min(losses) > 0 and max(losses) / min(losses) > LOG_SCALE_FROM:
        axes.set_yscale("log")


def _line(axes: "Axes", metrics: Metrics, key: str, **look: Any) -> None:
    points = [(line["epoch"], line[key]) for line in metrics if line.get(key) is not None]
    if points:
        look.setdefault("marker", "o" if len(points) <= MOST_MARKED else "")
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, markersize=3, **look)


def _short(name: str) -> str:
    """A name for a legend: its begin and its end, where runs of one recipe differ."""
    return name if len(name) <= LABEL_WIDTH else f"{name[: LABEL_WIDTH // 2 - 1]}…{name[-LABEL_WIDTH // 2 :]}"


def _mark_kept(axes: "Axes", metrics: Metrics, colour: str) -> tuple[float, int]:
    """A star at the epoch of best.pt: the best one, or the last where the test images stand in."""
    kept = best_score(metrics)
    if kept is None or kept.main is None:
        return 0.0, 0
    axes.plot([kept.epoch], [kept.main], marker="*", markersize=11, color=colour, linestyle="")
    return kept.main, kept.epoch


def _finish(axes: "Axes", *, num_epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, num_epochs + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=True, alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _look(number: int) -> tuple[str, str]:
    """A run's colour and, when all colours are taken, another kind of line."""
    return COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep matplotlib's asides (a font cache that is built, a name in letters that its font lacks) to itself."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
