"""`imgcls train`: from a recipe and labelled images to a run's folder."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from imgcls.cli import console, options
from imgcls.cli.help.option_groups import grouped
from imgcls.cli.max_time import parse_duration
from imgcls.cli.process import interrupts
from imgcls.cli.process.interrupts import CODES_BY_NAME, SavesOnSignal
from imgcls.cli.train.recipe_options import RecipeOptions
from imgcls.cli.train.run_options import RunOptions
from imgcls.cli.train.start import read_recipe
from imgcls.errors import ProcessLostError, UsageError
from imgcls.host.data_files import json_text

if TYPE_CHECKING:
    from imgcls.runs.events import Event
    from imgcls.runs.result import TrainResult

EXAMPLE = "Example: imgcls train -c cnn --data cifar10   or: imgcls train --data DIR --epochs 30"


@grouped
def train(recipe: RecipeOptions, machine: options.Machine, run: RunOptions, report: options.Report) -> None:
    """Train a network on CIFAR-10 or on your own images. Ctrl-C saves; --resume continues."""
    console.quiet = report.quiet
    max_sec = parse_duration(run.max_time, option="--max-time") if run.max_time is not None else None
    if run.print_config:
        from imgcls.recipes.loading import recipe_text

        console.use_utf8_stdout()
        console.data(recipe_text(read_recipe(recipe, run).recipe, explained=True).rstrip("\n"))
        return
    if run.dry_run:
        _rehearse(recipe, machine, run, report)
        return
    # Not found out after hours.
    console.open_stdout()
    if run.folds is not None:
        from imgcls.cli.train.folds import cross_validate

        cross_validate(recipe, run, report, lambda asked, one: _train(asked, machine, one, report, max_sec))
        return
    result, is_first = _train(recipe, machine, run, report, max_sec)
    if is_first:
        _report(result, report.format_)
        _draw_curves(result.run)
    # Of several processes it may have been another one that was told to stop.
    if result.stopped in CODES_BY_NAME:
        raise typer.Exit(CODES_BY_NAME[result.stopped])


def _rehearse(asked: RecipeOptions, machine: options.Machine, run: RunOptions, report: options.Report) -> None:
    from imgcls.cli.train.dry_run import rehearse

    if run.resume is not None:
        hint = f"imgcls train -c {run.resume / 'config.toml'} --dry-run"
        raise UsageError("--dry-run can't start from an interrupted run", hint=hint)
    read = read_recipe(asked, run)
    read.say()
    rehearse(
        read.recipe,
        output=run.output,
        device=machine.device,
        workers=machine.workers,
        format_=report.format_,
        verbose=report.verbose,
    )


def _train(
    asked: RecipeOptions, machine: options.Machine, run: RunOptions, report: options.Report, max_sec: float | None
) -> tuple["TrainResult", bool]:
    """Train, with everything that shows and stops a run; and whether this is the first of the run's processes."""
    from imgcls.cli.train.display import TrainDisplay
    from imgcls.distributed.process_group import joined
    from imgcls.runs.tensorboard import TensorBoardLog
    from imgcls.training.loss import DivergedError
    from imgcls.training.run import train as train_network

    with contextlib.ExitStack() as stack:
        processes = stack.enter_context(joined(machine.device))
        # Another machine may lack the run's folder.
        read = processes.from_first(lambda: read_recipe(asked, run))
        if processes.is_first:
            read.say()
        log = stack.enter_context(TensorBoardLog()) if run.tensorboard and processes.is_first else None
        # A scheduler tells torchrun and its processes, and torchrun tells them too: one wish that comes twice. Whoever
        # means it sends SIGKILL, as torchrun does after half a minute.
        signals = SavesOnSignal(console.message, twice_acts=processes.count == 1)
        model = read.recipe.model.name
        display = stack.enter_context(TrainDisplay(model, on_started=signals.listen, verbose=report.verbose))
        stack.enter_context(signals)
        listeners = [display.on_event] + ([log.on_event] if log is not None else [])

        def on_event(event: "Event") -> None:
            for listener in listeners:
                listener(event)

        try:
            result = train_network(
                read.recipe,
                output=run.output,
                resume=run.resume,
                name=read.name,
                device=machine.device,
                workers=machine.workers,
                on_event=on_event,
                should_stop=signals.reason,
                max_sec=max_sec,
                progress=display.decoding,
                download_progress=display.downloads.data,
                weights_progress=display.downloads.weights,
                processes=processes,
            )
        except ProcessLostError:
            interrupts.leaving = True
            raise
        except DivergedError:
            if display.run is not None and processes.is_first:
                _draw_curves(display.run)
            raise
        if log is not None:
            log.finish(result)
        display.finish(result)
    return result, processes.is_first


def _report(result: "TrainResult", format_: options.ReportFormat) -> None:
    from imgcls.cli.train.lines import command_for, summary_lines
    from imgcls.host.terminal_text import counted
    from imgcls.training.early_stopping import EARLY, MAX_TIME

    console.use_utf8_stdout()
    as_json = format_ is options.ReportFormat.JSON
    # An interruption leaves no answer behind; a run that was to end in time does.
    as_table = not as_json and result.stopped in (None, EARLY, MAX_TIME)
    if as_json:
        console.data(json_text(result.to_dict()))
    if as_table:
        for line in summary_lines(result):
            console.data(line)
    if not as_table and result.stopped not in (None, EARLY):
        console.warn(
            f"stopped by {result.stopped} after {counted(result.epochs, 'epoch')}; all is saved in {result.run}"
        )
        console.warn(f"go on with: {command_for(result)} train --resume {result.run}")


def _draw_curves(run: Path) -> None:
    """Draw curves.png, now that the training is over: importing matplotlib takes a while."""
    from imgcls.runs.curves import draw_run, has_matplotlib

    if not has_matplotlib():
        console.message("no curves.png: matplotlib is not installed (pip install 'imgcls[plots]')")
        return
    try:
        draw_run(run)
    except Exception as exc:
        # Whatever is wrong with matplotlib or the disk, a night's run doesn't fail for an image.
        console.warn(f"curves.png was not drawn: {exc}")
