"""`imgcls train --folds`: a run for each part of cross-validation, with mean and standard deviation."""

import json
import shlex
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from imgcls.cli import console, options
from imgcls.cli.process.interrupts import CODES_BY_NAME
from imgcls.cli.train.recipe_options import RecipeOptions
from imgcls.cli.train.run_options import RunOptions
from imgcls.errors import UsageError

if TYPE_CHECKING:
    from imgcls.runs.result import Score, TrainResult

RUNS = Path("runs")


def cross_validate(
    recipe: RecipeOptions,
    run: RunOptions,
    report: options.Report,
    train: "Callable[[RecipeOptions, RunOptions], tuple[TrainResult, bool]]",
) -> None:
    """Train every fold, and say how good the recipe is on average.

    Args:
        recipe: what each run is asked to do.
        run: its folder holds those of the runs.
        report: how the answer is printed.
        train: trains one of them.
    Raises:
        UsageError: together with what belongs to a single run.
        typer.Exit: a run was interrupted.
    """
    if run.resume is not None:
        raise UsageError(
            "--folds and --resume contradict each other", hint=f"imgcls train --resume {shlex.quote(str(run.resume))}"
        )
    assert run.folds is not None
    base = run.output or RUNS / f"folds-{time.strftime('%Y%m%d-%H%M%S')}"
    results: list[TrainResult] = []
    is_first = True
    for fold in range(1, run.folds + 1):
        settings = [*(recipe.set_ or ()), f"data.folds={run.folds}", f"data.fold={fold}"]
        if not report.quiet:
            console.message(f"fold {fold} of {run.folds}")
        one = run._replace(folds=None, output=base / f"fold-{fold}")
        result, is_first = train(recipe._replace(set_=settings), one)
        if result.stopped in CODES_BY_NAME:
            raise typer.Exit(CODES_BY_NAME[result.stopped])
        results.append(result)
    if not is_first:
        return
    answer = summary(results)
    console.use_utf8_stdout()
    if report.format_ is options.ReportFormat.JSON:
        console.data(json.dumps({"schema": 1, "runs": str(base)} | answer, ensure_ascii=False, allow_nan=False))
        return
    console.data(f"runs      {base}")
    for name in ("last", "best"):
        figures = answer[name]
        if figures is not None:
            console.data(
                f"{name:<8}  {figures['figure']} {figures['mean']:.2%} ± {figures['std']:.2%} (mean and standard "
                f"deviation of {run.folds} folds; {figures['min']:.2%} to {figures['max']:.2%})"
            )


def summary(results: "list[TrainResult]") -> dict[str, Any]:
    """Mean and standard deviation over the runs, and each run's scores.

    The best epoch was chosen on what it is measured on.
    """
    values = {
        name: [score for result in results if (score := getattr(result, name)) is not None and score.main is not None]
        for name in ("last", "best")
    }
    figures: dict[str, Any] = {
        name: _statistics(scores) if len(scores) == len(results) else None for name, scores in values.items()
    }
    return figures | {"folds": [result.to_dict() for result in results]}


def _statistics(scores: "list[Score]") -> dict[str, Any]:
    values = [score.main or 0.0 for score in scores]
    return {
        "figure": scores[0].name,
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values),
        "min": min(values),
        "max": max(values),
    }
