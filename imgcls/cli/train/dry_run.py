"""`imgcls train --dry-run`: what a run would take, before it takes it."""

from pathlib import Path
from typing import TYPE_CHECKING

from imgcls.cli import console, options
from imgcls.cli.train.lines import clock, started_lines
from imgcls.distributed.launch import read_launch
from imgcls.errors import UsageError
from imgcls.host.data_files import json_text
from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from imgcls.recipes.schema import Recipe
    from imgcls.training.dry_run.report import DryRun, StepKind

UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def rehearse(
    recipe: "Recipe",
    *,
    output: Path | None,
    device: str,
    workers: int | None,
    format_: options.ReportFormat,
    verbose: bool,
) -> None:
    """Try everything that a run would do, and print what it would take.

    Raises:
        UsageError: torchrun started several processes.
        ImgclsError: what training would raise.
    """
    launch = read_launch()
    if launch is not None and launch.count > 1:
        raise UsageError(
            f"--dry-run runs in one process, but torchrun started {launch.count}",
            hint="start it without torchrun",
        )
    from imgcls.cli.train.display import TrainDisplay
    from imgcls.training.dry_run.rehearsal import dry_run

    with TrainDisplay(recipe.model.name, verbose=verbose) as display:
        found = dry_run(
            recipe,
            output=output,
            device=device,
            workers=workers,
            progress=display.decoding,
            download_progress=display.downloads.data,
            weights_progress=display.downloads.weights,
        )
    display.warn_skipped(found.skipped)
    for text in found.warnings:
        console.warn(text)
    console.use_utf8_stdout()
    if format_ is options.ReportFormat.JSON:
        console.data(json_text(found.to_dict()))
        return
    for line in dry_run_lines(found):
        console.data(line)


def dry_run_lines(found: "DryRun") -> list[str]:
    """The answer for people."""
    started = found.started
    head, *rest = started_lines(started, run=False)
    lines = [f"network     {head}", *(f"            {line}" for line in rest)]
    lines += [
        f"{'a step' if number == 0 else '':12}{_step_text(kind, found.batch_size)}"
        for number, kind in enumerate(found.kinds)
    ]
    extras = [f"validation {clock(found.validation_sec)}"] if found.validation_sec is not None else []
    extras.append(f"saving {found.saving_sec:.1f} s")
    steps = counted(started.steps_per_epoch, "step")
    lines.append(f"an epoch    {clock(found.epoch_sec)} with {' and '.join(extras)}; {steps}")
    lines.append(f"the run     {clock(found.total_sec)} for {counted(started.epochs, 'epoch')}")
    memory = []
    for peak, total, where in (
        (found.host_peak_bytes, found.host_total_bytes, "in this process"),
        (found.device_peak_bytes, found.device_total_bytes, f"on {started.device}"),
    ):
        if peak is not None:
            memory.append(f"{size_text(peak)}{'' if total is None else f' of {size_text(total)}'} {where}")
    lines.append(f"memory      {', '.join(memory) or 'unknown'} at most")
    last, best, free = map(size_text, (found.last_bytes, found.best_bytes, found.free_bytes))
    lines.append(f"disk        last.pt {last}, best.pt {best}; {free} free")
    return [*lines, "nothing was written; without --dry-run the run begins"]


def _step_text(kind: "StepKind", batch_size: int) -> str:
    what = f"{counted(batch_size, 'image')} of {kind.image_px} px" + (", the head alone" if kind.frozen else "")
    figures = []
    if kind.feature_sec is not None:
        figures.append(f"the frozen backbone once on all images {clock(kind.feature_sec)}")
    if kind.step_sec is not None:
        figures.append(f"{kind.step_sec:.4g} s, {batch_size / kind.step_sec:,.0f} images/s")
    if kind.first_sec is not None and kind.step_sec is not None and kind.first_sec > 2 * kind.step_sec + 1:
        figures.append(f"the first {kind.first_sec:.1f} s")
    return f"{what}: {', '.join(figures)}"


def size_text(count: int | None) -> str:
    """Bytes in the unit that fits."""
    if count is None:
        return "?"
    unit, scale = next((pair for pair in UNITS if count >= pair[1]), UNITS[-1])
    return f"{count / scale:,.1f} {unit}"
