"""`imgcls train`: from a recipe and labelled pictures to a run's folder."""

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from imgcls.cli import console, options
from imgcls.cli.durations import parse_duration
from imgcls.cli.interrupts import Interruption, noted_interruptions
from imgcls.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from imgcls.training.events import TrainResult

EXAMPLE = "Example: imgcls train -c configs/cnn.toml --data cifar10   or: imgcls train --data DIR --epochs 30"
SIGNAL_NAMES = {ExitCode.INTERRUPTED: "SIGINT", ExitCode.TERMINATED: "SIGTERM"}


def train(
    config: Annotated[
        Optional[Path],  # noqa: UP045 - Typer reads it at run time
        typer.Option("--config", "-c", help="A recipe; without one the defaults hold.", metavar="RECIPE.toml"),
    ] = None,
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--data", help="cifar10, or a folder of class folders.", metavar="DATA"),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--model",
            "-m",
            help="mlp, cnn, a torchvision classifier, or a trained model to go on from; replaces [model].",
            metavar="MODEL",
        ),
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Begin with torchvision's ImageNet weights, not with random ones.")
    ] = False,
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--weights", help="Begin with these: a plain state_dict, or a checkpoint.", metavar="FILE"),
    ] = None,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Train the head alone; the body stays as it begins.")
    ] = False,
    epochs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--epochs", help="Passes over the training pictures.", metavar="N"),
    ] = None,
    batch_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--batch-size", help="Pictures in a step.", metavar="N"),
    ] = None,
    lr: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--lr", help="Learning rate at the schedule's peak.", metavar="X"),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--seed", help="Of weights, order, augmentation and validation split.", metavar="N"),
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits in every run on a GPU too; slower.")
    ] = False,
    device: options.Device = "auto",
    workers: options.Workers = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="Any setting of the recipe; may be repeated.", metavar="SECTION.KEY=VALUE"),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="The run's folder; by default runs/<recipe>-<date>-<time>.", metavar="DIR"),
    ] = None,
    resume: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--resume", help="Go on with a run that was cut; ends as if it never had been.", metavar="RUN"),
    ] = None,
    max_time: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--max-time",
            help="Save and end after that long, with code 0; --resume goes on, with the time anew.",
            metavar="30m|1h30m|90s",
        ),
    ] = None,
    allow_modified_data: Annotated[
        bool,
        typer.Option("--allow-modified-data", help="Take CIFAR-10 files whose checksums are not the published ones."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse damaged pictures instead of skipping them.")] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved recipe as TOML, and stop.")
    ] = False,
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train a network on CIFAR-10 or on your own pictures. Ctrl-C saves; --resume goes on."""
    console.quiet = quiet
    from imgcls.training.recipes import load_recipe, recipe_text

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
    if resume is not None and config is None:
        config = _recipe_of(resume)
    recipe = load_recipe(config, assignments=set_ or (), flags=flags)
    if print_config:
        _use_utf8_stdout()
        console.data(recipe_text(recipe, explained=True).rstrip("\n"))
        return
    from imgcls.cli.train_display import TrainDisplay
    from imgcls.training.run import train as train_network

    interruption: Interruption | None = None
    said = False

    def begin() -> None:
        # Before the first step there is nothing to save, and Ctrl-C simply ends the command.
        nonlocal interruption
        interruption = stack.enter_context(noted_interruptions())

    def reason_to_stop() -> str | None:
        nonlocal said
        if interruption is None or interruption.exit_code is None:
            return None
        name = SIGNAL_NAMES[interruption.exit_code]
        if not said:
            said = True
            console.talk(f"{name}: saving (once more to stop at once)")
        return name

    with contextlib.ExitStack() as stack:
        display = stack.enter_context(TrainDisplay(on_started=begin, verbose=verbose))
        result = train_network(
            recipe,
            output=output,
            resume=resume,
            name=config.stem if config is not None else "",
            device=device,
            workers=workers,
            on_event=display.on_event,
            should_stop=reason_to_stop,
            max_sec=max_sec,
            progress=display.decoding,
            download_progress=display.downloading_data,
            weights_progress=display.downloading_weights,
        )
        display.finish(result)
    _report(result, format_)
    if result.stopped is not None and interruption is not None and interruption.exit_code is not None:
        raise typer.Exit(interruption.exit_code)


def _recipe_of(run: Path) -> Path:
    config = run / "config.toml"
    if not config.is_file():
        raise UsageError(
            f"{run} is not the folder of a run: it holds no config.toml",
            hint="name the folder that 'imgcls train' made, such as runs/cnn-20260131-120000",
        )
    return config


def _report(result: "TrainResult", format_: options.ReportFormat) -> None:
    from imgcls.training.stopping import EARLY, MAX_TIME

    _use_utf8_stdout()
    as_json = format_ is options.ReportFormat.JSON
    # An interruption leaves no answer behind; a run that was to end in time does.
    as_table = not as_json and result.stopped in (None, EARLY, MAX_TIME)
    if as_json:
        console.data(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False))
    if as_table:
        from imgcls.cli.train_lines import summary_lines

        for line in summary_lines(result):
            console.data(line)
    if not as_table and result.stopped not in (None, EARLY):
        console.warn(f"stopped by {result.stopped} after {result.epochs} whole epochs; all is saved in {result.run}")
        console.warn(f"go on with: imgcls train --resume {result.run}")


def _use_utf8_stdout() -> None:
    # The answer is UTF-8 with bare line feeds whatever the platform's habit, so that it parses everywhere.
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
