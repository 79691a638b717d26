"""`imgcls train`: from a recipe and labelled images to a run's folder."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from imgcls.cli import console, interrupts, options, train_options
from imgcls.cli.durations import parse_duration
from imgcls.cli.interrupts import CODES_BY_NAME, SavesOnSignal
from imgcls.errors import ProcessLostError, UsageError

if TYPE_CHECKING:
    from imgcls.recipes.schema import Recipe
    from imgcls.runs.events import Event, TrainResult

EXAMPLE = "Example: imgcls train -c cnn --data cifar10   or: imgcls train --data DIR --epochs 30"


def train(
    config: train_options.Config = None,
    data: train_options.Data = None,
    model: train_options.Model = None,
    pretrained: train_options.Pretrained = False,
    weights: train_options.Weights = None,
    freeze: train_options.Freeze = False,
    epochs: train_options.Epochs = None,
    batch_size: train_options.BatchSize = None,
    lr: train_options.LearningRate = None,
    seed: train_options.Seed = None,
    deterministic: train_options.Deterministic = False,
    device: options.Device = "auto",
    workers: options.Workers = None,
    set_: train_options.Set = None,
    output: train_options.Output = None,
    resume: train_options.Resume = None,
    max_time: train_options.MaxTime = None,
    allow_modified_data: train_options.AllowModifiedData = False,
    strict: train_options.Strict = False,
    tensorboard: train_options.TensorBoard = False,
    print_config: train_options.PrintConfig = False,
    dry_run: train_options.DryRun = False,
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train a network on CIFAR-10 or on your own images. Ctrl-C saves; --resume goes on."""
    console.quiet = quiet
    from imgcls.recipes.loading import load_recipe, recipe_text
    from imgcls.runs.folder import config_path

    max_sec = parse_duration(max_time, option="--max-time") if max_time is not None else None
    flags: dict[str, Any] = {
        "data.source": data,
        "data.allow_modified": allow_modified_data or None,
        "data.strict": strict or None,
        "model.name": model,
        "model.pretrained": pretrained or None,
        "finetune.freeze": freeze or None,
        "model.weights": str(weights) if weights is not None else None,
        "optim.lr": lr,
        "train.epochs": epochs,
        "train.batch_size": batch_size,
        "train.seed": seed,
        "train.deterministic": deterministic or None,
    }

    def read_recipe() -> tuple["Recipe", str]:
        source = config_path(resume) if resume is not None and config is None else config
        return load_recipe(source, assignments=set_ or (), flags=flags), source.stem if source is not None else ""

    if print_config:
        console.use_utf8_stdout()
        console.data(recipe_text(read_recipe()[0], explained=True).rstrip("\n"))
        return
    if dry_run:
        from imgcls.cli.dry_run import rehearse

        if resume is not None:
            hint = f"imgcls train -c {resume / 'config.toml'} --dry-run"
            raise UsageError("--dry-run begins at the beginning", hint=hint)
        rehearse(read_recipe()[0], output=output, device=device, workers=workers, format_=format_, verbose=verbose)
        return
    from imgcls.cli.train_display import TrainDisplay
    from imgcls.distributed.process_group import joined
    from imgcls.runs.tensorboard import TensorBoardLog
    from imgcls.training.loss import DivergedError
    from imgcls.training.run import train as train_network

    with contextlib.ExitStack() as stack:
        processes = stack.enter_context(joined(device))
        # Another machine may lack the run's folder.
        recipe, name = processes.from_first(read_recipe)
        log = stack.enter_context(TensorBoardLog()) if tensorboard and processes.is_first else None
        # A scheduler tells torchrun and its processes, and torchrun tells them too: one wish that comes twice. Whoever
        # means it sends SIGKILL, as torchrun does after half a minute.
        signals = SavesOnSignal(console.message, twice_acts=processes.count == 1)
        display = stack.enter_context(TrainDisplay(on_started=signals.listen, verbose=verbose))
        stack.enter_context(signals)
        listeners = [display.on_event] + ([log.on_event] if log is not None else [])

        def on_event(event: "Event") -> None:
            for listener in listeners:
                listener(event)

        try:
            result = train_network(
                recipe,
                output=output,
                resume=resume,
                name=name,
                device=device,
                workers=workers,
                on_event=on_event,
                should_stop=signals.reason,
                max_sec=max_sec,
                progress=display.decoding,
                download_progress=display.downloading_data,
                weights_progress=display.downloading_weights,
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
    if processes.is_first:
        _report(result, format_)
        _draw_curves(result.run)
    # Of several processes it may have been another one that was told to stop.
    if result.stopped in CODES_BY_NAME:
        raise typer.Exit(CODES_BY_NAME[result.stopped])


def _report(result: "TrainResult", format_: options.ReportFormat) -> None:
    from imgcls.cli.train_lines import command_for, summary_lines
    from imgcls.training.early_stopping import EARLY, MAX_TIME

    console.use_utf8_stdout()
    as_json = format_ is options.ReportFormat.JSON
    # An interruption leaves no answer behind; a run that was to end in time does.
    as_table = not as_json and result.stopped in (None, EARLY, MAX_TIME)
    if as_json:
        console.data(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False))
    if as_table:
        for line in summary_lines(result):
            console.data(line)
    if not as_table and result.stopped not in (None, EARLY):
        console.warn(f"stopped by {result.stopped} after {result.epochs} whole epochs; all is saved in {result.run}")
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
