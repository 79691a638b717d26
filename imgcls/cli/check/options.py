"""The options of `imgcls check`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from imgcls.cli import options
from imgcls.datasets.checks.finding import KINDS
from imgcls.errors import UsageError


@dataclass(frozen=True)
class CheckedOptions:
    """Which data set, and how it is split."""

    data: Annotated[
        str,
        typer.Argument(help="What train takes: cifar10, class folders, or a table of labels.", metavar="DATA"),
    ]
    val_fraction: Annotated[
        float | None,
        typer.Option(
            "--val-fraction",
            min=0,
            max=0.99,
            help="Fraction that training keeps for validation; by default as in train.",
        ),
    ] = None
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the validation split, as in train.")] = 0
    allow_modified_data: Annotated[
        bool,
        typer.Option(
            "--allow-modified-data", help="Accept CIFAR-10 files with other checksums than the published ones."
        ),
    ] = False


@dataclass(frozen=True)
class FindingOptions:
    """What becomes of the findings."""

    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on", help=f"End with code 9 if any is found of: {', '.join(KINDS)}; or all.", metavar="KINDS"
        ),
    ] = None
    fix_list: Annotated[
        Path | None,
        typer.Option(
            "--fix-list",
            help="Also write what to keep, move or drop, to be edited and given to train --data-fixes.",
            metavar="FILE",
        ),
    ] = None
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Also write one page with the images side by side.", metavar="FILE"),
    ] = None
    output: options.Output = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing list of fixes.")] = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those that make the command fail.

        Raises:
            UsageError: there is no such kind.
        """
        if self.fail_on is None:
            return ()
        asked = tuple(each.strip() for each in self.fail_on.split(",") if each.strip())
        if asked == ("all",):
            return KINDS
        unknown = [each for each in asked if each not in KINDS]
        if unknown or not asked:
            raise UsageError(
                f"--fail-on {self.fail_on}: {unknown[0] if unknown else ''!r} is no kind of finding",
                hint=f"use some of {','.join(KINDS)}",
            )
        return asked
