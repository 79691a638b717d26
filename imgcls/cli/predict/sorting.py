"""What `imgcls predict` does with the files that it has classified."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from imgcls.cli import console
from imgcls.errors import ExitCode, UsageError
from imgcls.host.terminal_text import counted

if TYPE_CHECKING:
    from imgcls.outputs.record import ImageRecord, KeptRecord
    from imgcls.outputs.sorting.sorter import Sorter
    from imgcls.outputs.summary import Summary

    OnRecord = Callable[[ImageRecord | KeptRecord, Summary], None]

PANEL = "Sorting files by class"


class How(StrEnum):
    """What `--how` takes."""

    COPY = "copy"
    MOVE = "move"
    LINK = "link"


class SortingOptions(NamedTuple):
    """Where files go; see each option's help."""

    sort_into: Annotated[
        Path | None,
        typer.Option(
            "--sort-into",
            help="Put each image's file into DIR/CLASS. Nothing is ever overwritten; an undo file is written.",
            metavar="DIR",
            rich_help_panel=PANEL,
        ),
    ] = None
    how: Annotated[How, typer.Option("--how", help="Copy, move or link (symbolic) files.", rich_help_panel=PANEL)] = (
        How.COPY
    )
    unsure_into: Annotated[
        str | None,
        typer.Option(
            "--unsure-into",
            help="The folder in DIR for answers under --threshold, or not accepted by --accept-if; else they stay.",
            metavar="NAME",
            rich_help_panel=PANEL,
        ),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say which files would go where, and touch none.", rich_help_panel=PANEL),
    ] = False
    undo: Annotated[
        Path | None,
        typer.Option(
            "--undo",
            help="Take back what such a run did, by its undo file; classifies nothing.",
            metavar="FILE",
            rich_help_panel=PANEL,
        ),
    ] = None

    def sorter(self, inputs: list[str] | None, *, can_be_unsure: bool, resumes: bool) -> "Sorter | None":
        """What puts files into folders; None where that wasn't asked for.

        Args:
            inputs: as they were typed.
            can_be_unsure: whether `--threshold` or `--accept-if` was given.
            resumes: whether `--resume` was.
        Raises:
            UsageError: options that don't go together, or a folder that would be read while it is filled.
        """
        if self.sort_into is None:
            if self.unsure_into is not None or self.dry_run or self.how is not How.COPY:
                raise UsageError("--how, --unsure-into and --dry-run go with --sort-into", hint="add --sort-into DIR")
            return None
        if resumes and self.how is How.MOVE:
            raise UsageError(
                "--how move and --resume contradict each other: files that were moved are no inputs any more, so that "
                "their records would be dropped",
                hint="run it again without --resume, and with another --output",
            )
        if self.unsure_into is not None and not can_be_unsure:
            raise UsageError(
                "--unsure-into needs something that makes an answer unsure",
                hint="add --threshold 0.8, or --accept-if single for a calibrated model",
            )
        if self.unsure_into is not None and Path(self.unsure_into).name != self.unsure_into:
            raise UsageError(f"--unsure-into {self.unsure_into} is no name of a folder", hint="--unsure-into unsure")
        root = self.sort_into.resolve()
        for name in inputs or ():
            folder = Path(name)
            if folder.is_dir() and root.is_relative_to(folder.resolve()):
                raise UsageError(
                    f"--sort-into {self.sort_into} lies in {name}, which is read meanwhile",
                    hint=f"--sort-into {Path(name).resolve().with_name('sorted')}",
                )
        from imgcls.outputs.sorting.sorter import Sorter

        return Sorter(self.sort_into, self.how.value, self.unsure_into, self.dry_run)

    def take_back(self) -> None:
        """Undo a run.

        Raises:
            OutputError: it can't be undone.
            typer.Exit: with 4 where files were changed since, and stay.
        """
        from imgcls.outputs.sorting.undo import undo

        assert self.undo is not None
        counts = undo(self.undo)
        console.message(f"{counted(counts['undone'], 'file')} undone, {counts['gone']:,} gone already")
        if counts["changed"]:
            console.warn(f"{counted(counts['changed'], 'file')} changed since, left as they are")
            raise typer.Exit(ExitCode.SOME_FAILED)


def sorted_too(sorter: "Sorter", on_record: "OnRecord") -> "OnRecord":
    """What is called after each record, with its file put where it belongs; a dry run says where.

    Args:
        sorter: is open.
        on_record: called first.
    """

    def place(record: "ImageRecord | KeptRecord", summary: "Summary") -> None:
        on_record(record, summary)
        placed = sorter.place(record)
        if sorter.dry_run and placed.target is not None:
            verb = "is there" if placed.did == "there" else f"would be {placed.did}"
            console.message(f"{placed.source} {verb}: {placed.target}")

    return place


def say_what_was_sorted(sorter: "Sorter") -> None:
    """Counts, and where the undo file is."""
    done = [f"{count:,} {did}" for did in ("copied", "moved", "linked") if (count := sorter.counts[did])]
    rest = {"there": "there already", "left": "left as they are"}
    done += [f"{count:,} {words}" for did, words in rest.items() if (count := sorter.counts[did])]
    would = "would be: " if sorter.dry_run else ""
    console.message(f"files: {would}{', '.join(done) or 'none'}")
    if sorter.undo_path is not None:
        console.message(f"imgcls predict --undo {sorter.undo_path} takes it back")
