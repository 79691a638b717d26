"""`imgcls tune`: from a recipe and a space of settings to the best recipe found."""

import shlex
from typing import TYPE_CHECKING

import typer

from imgcls.cli import console, options
from imgcls.cli.help.option_groups import grouped
from imgcls.cli.max_time import parse_duration
from imgcls.cli.process.interrupts import SavesOnSignal
from imgcls.cli.tune.options import SearchOptions, StudyOptions
from imgcls.errors import UsageError
from imgcls.host.data_files import json_text
from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from imgcls.tuning.results import StudyResult

EXAMPLE = "Example: imgcls tune -c mlp --space space --trials 50 --max-time 8h"


@grouped
def tune(search: SearchOptions, machine: options.Machine, study: StudyOptions, report: options.Report) -> None:
    """Search for the recipe with the best validation accuracy, and write it as a TOML file for train. Ctrl-C saves."""
    console.quiet = report.quiet
    max_sec = parse_duration(study.max_time, option="--max-time") if study.max_time is not None else None
    from imgcls.tuning.strategy import require_optuna

    require_optuna()
    from imgcls.recipes.loading import load_recipe

    if study.resume is None and search.space is None:
        raise UsageError("no space to search", hint="--space space, or --resume STUDY")
    config = search.config
    if study.resume is not None and config is None:
        from imgcls.tuning.folder import StudyFolder

        config = StudyFolder.reopen(study.resume).recipe_path
    recipe = load_recipe(config, assignments=search.set_ or (), flags=search.flags(), resolve=False)
    from imgcls.cli.tune.display import TuneDisplay
    from imgcls.tuning.study import tune as run_study

    signals = SavesOnSignal(lambda text: display.say(text))
    with TuneDisplay(on_started=signals.listen, verbose=report.verbose) as display, signals:
        result = run_study(
            recipe,
            search.space,
            output=study.output,
            resume=study.resume,
            name=config.stem if config is not None else "",
            num_trials=search.trials,
            pruner=search.pruner.value if search.pruner is not None else None,
            device=machine.device,
            workers=machine.workers,
            max_sec=max_sec,
            on_event=display.on_event,
            should_stop=signals.reason,
            progress=display.decoding,
            download_progress=display.downloads.data,
            weights_progress=display.downloads.weights,
        )
    _report(result, report.format_)
    if result.stopped is not None and signals.exit_code is not None:
        raise typer.Exit(signals.exit_code)


def _report(result: "StudyResult", format_: options.ReportFormat) -> None:
    from imgcls.training.early_stopping import MAX_TIME

    console.use_utf8_stdout()
    from imgcls.cli.tune.lines import best_text, summary_lines

    # An interruption leaves no table behind; a search that was to end in time does.
    interrupted = result.stopped not in (None, MAX_TIME)
    if format_ is options.ReportFormat.JSON:
        console.data(json_text(result.to_dict()))
    elif not interrupted:
        for line in summary_lines(result):
            console.data(line)
    if interrupted:
        over = f"{result.num_over} of {counted(result.num_trials, 'trial')}"
        console.warn(f"stopped by {result.stopped} after {over}; all is saved in {result.study}")
        console.warn(f"best so far: {best_text(result.best)}")
    if interrupted or (result.stopped and format_ is options.ReportFormat.JSON):
        console.warn(f"go on with: imgcls tune --resume {shlex.quote(str(result.study))}")
    running = result.counts.get("running", 0)
    if result.stopped is None and running:
        where = "is still running in another process" if running == 1 else "are still running in other processes"
        console.warn(f"{running} of the trials {where}; the best may change")
