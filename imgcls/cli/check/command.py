"""`imgcls check`: what is wrong with a data set."""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import typer

from imgcls.cli import console, options
from imgcls.cli.check.options import CheckedOptions, FindingOptions
from imgcls.cli.help.option_groups import grouped
from imgcls.cli.progress_bars import count_bar
from imgcls.errors import ExitCode, OutputError

if TYPE_CHECKING:
    from imgcls.datasets.checks.run import CheckReport

EXAMPLE = "Example: imgcls check photos/ --fix-list fixes.csv   or: imgcls check photos/ --fail-on leakage,conflict -q"


@grouped
def check(checked: CheckedOptions, machine: options.Machine, wanted: FindingOptions, report: options.Report) -> None:
    """Find what is wrong with a data set: damaged and odd images, copies, leaks between splits, wrong labels.

    Looks at every image in the splits that training would have. Nothing is changed: --fix-list writes a list that a
    person edits, and train --data-fixes goes by it.
    """
    console.quiet = report.quiet
    kinds = wanted.kinds
    if wanted.fix_list is not None and wanted.fix_list.exists() and not wanted.overwrite:
        raise OutputError(f"{wanted.fix_list} exists already", hint="--overwrite replaces it and what you edited in it")
    found = _check(checked, machine, verbose=report.verbose)
    for text in found.warnings:
        console.warn(text)
    if wanted.fix_list is not None:
        from imgcls.datasets.checks.fixes import fix_list
        from imgcls.host.files import write_text

        write_text(wanted.fix_list, fix_list(found.findings))
        console.message(f"wrote {wanted.fix_list}; edit it, then: imgcls train --data-fixes {wanted.fix_list} ...")
    if wanted.html is not None:
        from imgcls.outputs.report.findings import write_findings_page

        write_findings_page(found, wanted.html)
        console.message(f"wrote {wanted.html}")
    _answer(found, wanted, report.format_)
    if count := found.failing(kinds):
        console.warn(f"{count:,} findings of {', '.join(kind for kind in kinds if kind in found.by_kind)}")
        raise typer.Exit(ExitCode.FOUND)


def _check(checked: CheckedOptions, machine: options.Machine, *, verbose: bool) -> "CheckReport":
    from imgcls.datasets.checks.run import check_dataset, require_packages
    from imgcls.evaluation.frozen_features import BACKBONE, load_frozen_features
    from imgcls.host.devices import choose_device

    require_packages()
    choice = choose_device(machine.device)
    embed = load_frozen_features(choice.device)
    if verbose:
        console.message(f"{BACKBONE if embed else 'no network'} on {choice.device} ({choice.reason})")
    with _progress() as (step, move), console.download_progress("CIFAR-10") as downloading:
        return check_dataset(
            checked.data,
            embed=embed,
            backbone=BACKBONE,
            val_fraction=checked.val_fraction,
            seed=checked.seed,
            workers=machine.workers,
            allow_modified=checked.allow_modified_data,
            on_step=step,
            progress=move,
            download_progress=downloading,
        )


def _answer(found: "CheckReport", wanted: FindingOptions, format_: options.ReportFormat) -> None:
    if format_ is options.ReportFormat.JSON:
        text = json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False)
    else:
        from imgcls.cli.check.table import render_findings

        text = render_findings(found, colour=wanted.output is None and console.stdout_has_colour())
    if wanted.output is None:
        console.use_utf8_stdout()
        console.data(text)
        return
    from imgcls.host.files import write_text

    write_text(wanted.output, text + "\n")
    console.message(f"wrote {wanted.output}")


@contextlib.contextmanager
def _progress() -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """What is being done, and a bar while images are looked at; on a terminal only."""
    if console.quiet or not console.is_terminal():
        yield (lambda _step: None), (lambda _done, _total: None)
        return
    with count_bar() as bar:
        task = bar.add_task("opening the data", total=None)

        def step(text: str) -> None:
            bar.reset(task, description=text, total=None)

        def move(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield step, move
