"""`imgcls tune`: from a recipe and a space of settings to the best recipe found."""

import json
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from imgcls.cli import console, options, train_options
from imgcls.cli.durations import parse_duration
from imgcls.cli.interrupts import SavesOnSignal
from imgcls.errors import UsageError

if TYPE_CHECKING:
    from imgcls.tuning.results import StudyResult

STUDY = "The study"
EXAMPLE = "Example: imgcls tune -c mlp --space space --trials 50 --max-time 8h"


class Pruner(StrEnum):
    """How trials that do badly are given up."""

    MEDIAN = "median"
    HALVING = "halving"
    NONE = "none"


def tune(
    config: train_options.Config = None,
    space: Annotated[
        Optional[Path],  # noqa: UP045 - Typer reads it at run time
        typer.Option(
            "--space", help="Settings to search and their ranges: a file, or a shipped name: space.", metavar="SPACE"
        ),
    ] = None,
    data: train_options.Data = None,
    model: train_options.Model = None,
    trials: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--trials", min=1, help="Trials in all, with those of a resumed study; else 20.", metavar="N"),
    ] = None,
    pruner: Annotated[
        Optional[Pruner],  # noqa: UP045
        typer.Option("--pruner", help="Give up trials below the median, by successive halving, or none; else median."),
    ] = None,
    pretrained: train_options.Pretrained = False,
    epochs: train_options.Epochs = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--seed",
            help="Of the search, and of weights, order and the rest in every trial.",
            metavar="N",
            rich_help_panel=train_options.RECIPE,
        ),
    ] = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    set_: train_options.Set = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--output",
            "-o",
            help="The study's folder; by default studies/<recipe>-<date>-<time>.",
            metavar="DIR",
            rich_help_panel=STUDY,
        ),
    ] = None,
    resume: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--resume",
            help="Go on with a study; several processes may, at the same time.",
            metavar="STUDY",
            rich_help_panel=STUDY,
        ),
    ] = None,
    max_time: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--max-time",
            help="Save and end after that long, with code 0; --resume goes on, with the time anew.",
            metavar="30m|1h30m|90s",
            rich_help_panel=STUDY,
        ),
    ] = None,
    allow_modified_data: train_options.AllowModifiedData = False,
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Search for the recipe that validates best, and write it as a TOML file that train takes. Ctrl-C saves."""
    console.quiet = quiet
    max_sec = parse_duration(max_time, option="--max-time") if max_time is not None else None
    from imgcls.tuning.strategy import require_optuna

    require_optuna()
    from imgcls.recipes.loading import load_recipe

    flags: dict[str, Any] = {
        "data.source": data,
        "data.allow_modified": allow_modified_data or None,
        "model.name": model,
        "model.pretrained": pretrained or None,
        "train.epochs": epochs,
        "train.seed": seed,
    }
    if resume is None and space is None:
        raise UsageError("no space to search", hint="--space space, or --resume STUDY")
    if resume is not None and config is None:
        from imgcls.tuning.folder import StudyFolder

        config = StudyFolder.reopen(resume).recipe_path
    recipe = load_recipe(config, assignments=set_ or (), flags=flags, resolve=False)
    from imgcls.cli.tune_display import TuneDisplay
    from imgcls.tuning.study import tune as search

    signals = SavesOnSignal(lambda text: display.say(text))
    with TuneDisplay(on_started=signals.listen, verbose=verbose) as display, signals:
        result = search(
            recipe,
            space,
            output=output,
            resume=resume,
            name=config.stem if config is not None else "",
            num_trials=trials,
            pruner=pruner.value if pruner is not None else None,
            device=device,
            workers=workers,
            max_sec=max_sec,
            on_event=display.on_event,
            should_stop=signals.reason,
            progress=display.decoding,
            download_progress=display.downloading_data,
            weights_progress=display.downloading_weights,
        )
    _report(result, format_)
    if result.stopped is not None and signals.exit_code is not None:
        raise typer.Exit(signals.exit_code)


def _report(result: "StudyResult", format_: options.ReportFormat) -> None:
    from imgcls.training.early_stopping import MAX_TIME

    console.use_utf8_stdout()
    from imgcls.cli.tune_display import best_text, summary_lines

    # An interruption leaves no table behind; a search that was to end in time does.
    interrupted = result.stopped not in (None, MAX_TIME)
    if format_ is options.ReportFormat.JSON:
        console.data(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False))
    elif not interrupted:
        for line in summary_lines(result):
            console.data(line)
    if interrupted:
        over = f"{result.num_over} of {result.num_trials} trials"
        console.warn(f"stopped by {result.stopped} after {over}; all is saved in {result.study}")
        console.warn(f"best so far: {best_text(result.best)}")
    if interrupted or (result.stopped and format_ is options.ReportFormat.JSON):
        console.warn(f"go on with: imgcls tune --resume {shlex.quote(str(result.study))}")
    running = result.counts.get("running", 0)
    if result.stopped is None and running:
        where = "is still running in another process" if running == 1 else "are still running in other processes"
        console.warn(f"{running} of the trials {where}; the best may change")
