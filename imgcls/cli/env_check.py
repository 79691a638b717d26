"""`imgcls env-check`: what is installed, whether it works, and what to do where it doesn't."""

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from imgcls.cli import console
from imgcls.cli.options import Device, Output, Quiet, ReportFormat, ReportFormatOption
from imgcls.errors import ExitCode

if TYPE_CHECKING:
    from imgcls.environment.report import Check, EnvironmentReport

EXAMPLE = "Example: imgcls env-check --format json -o machine.json"
COLOURS = {"ok": "green", "warning": "yellow", "fault": "bold red"}


def env_check(
    device: Device = "auto",
    format: ReportFormatOption = ReportFormat.TABLE,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Check this machine: what is installed, whether it works, what to do where it doesn't.

    Runs a forward and a backward pass on every device (or on --device only) and compares it with the CPU's answer.
    Exits with 0, or with 7 when there is a fault.
    """
    from imgcls.environment.check import check_environment

    console.quiet = quiet
    with _waiting():
        report = check_environment(device)
    if format is ReportFormat.JSON:
        text = json.dumps(report.to_dict(), indent=2)
    elif output is None and console.open_stdout().isatty():
        _print_table(report)
        text = _summary(report)
    else:
        text = _plain(report)
    if output is None:
        console.data(text)
        console.flush()
    else:
        from imgcls.host.files import write_text

        write_text(output, text + "\n")
        console.message(f"{_summary(report)} Written to {output}")
    if not report.ok:
        raise typer.Exit(ExitCode.DEVICE)


@contextlib.contextmanager
def _waiting() -> Iterator[None]:
    """Show on a terminal that something is going on: importing torch and waking the devices takes seconds."""
    if console.quiet or not console.is_terminal():
        yield
        return
    with console.stderr_console().status("trying torch and every device"):
        yield


def _print_table(report: "EnvironmentReport") -> None:
    from rich.table import Table
    from rich.text import Text

    # Folded, not cut: a path that can't be copied whole is of no use.
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("finding", overflow="fold", ratio=1)
    for check in report.checks:
        finding = Text(check.detail)
        if check.advice:
            finding.append(f"\n-> {check.advice}", style="bold" if check.status != "ok" else "dim")
        table.add_row(check.name, Text(check.status.value, style=COLOURS[check.status.value]), finding)
    console.stdout_console().print(table)


def _plain(report: "EnvironmentReport") -> str:
    """One line a check, and its advice on the next; never wrapped, so that it can be searched."""
    return "\n".join([*(_plain_check(check) for check in report.checks), _summary(report)])


def _plain_check(check: "Check") -> str:
    line = f"{check.status.value:<8} {check.name:<14} {check.detail}"
    return f"{line}\n{'':<23} -> {check.advice}" if check.advice else line


def _summary(report: "EnvironmentReport") -> str:
    faults, warnings = (sum(check.status == status for check in report.checks) for status in ("fault", "warning"))
    return f"{_counted(faults, 'fault')}, {_counted(warnings, 'warning')}."


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
