"""Where `imgcls predict` writes its records, and how."""

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from imgcls.cli import console
from imgcls.cli.predict.remote_output import remote_address, uploaded, working_path
from imgcls.outputs.formats import FORMATS

if TYPE_CHECKING:
    from imgcls.images.object_storage.urls import StorageOptions
    from imgcls.outputs.destination import Destination
    from imgcls.outputs.formats.format import InlineImages

PANEL = "Output"


def known_format(name: str | None) -> str | None:
    """A name of a format, or None; anything else is refused."""
    if name is not None and name not in FORMATS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(FORMATS)}")
    return name


def format_option(panel: str | None = None) -> Any:
    """The option that names a format, in a panel of a command's help."""
    return typer.Option(
        "--format",
        "-f",
        help=f"How to write the records: {', '.join(FORMATS)}; by default as --output's suffix says.",
        metavar="FORMAT",
        callback=known_format,
        autocompletion=lambda: list(FORMATS),
        rich_help_panel=panel,
    )


class OutputOptions(NamedTuple):
    """What of the command line says where records go; see each option's help."""

    format_: Annotated[str | None, format_option(PANEL)] = None
    # Typer would call a file that can't be read a wrong usage; it is an output that can't be written.
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write here (a file, or s3://...) instead of to stdout; .gz and .zst compress.",
            metavar="FILE",
            readable=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep what --output already has of unchanged files; classify the rest (jsonl, csv).",
            rich_help_panel=PANEL,
        ),
    ] = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing output.", rich_help_panel=PANEL)
    ] = False
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            help="One page to look through: thumbnails, answers, filters. Needs no network.",
            metavar="FILE",
            readable=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    csv_safe: Annotated[
        bool,
        typer.Option(
            "--csv-safe",
            help="In CSV, put ' before cells that a spreadsheet would run as a formula.",
            rich_help_panel=PANEL,
        ),
    ] = False

    show: Annotated[
        bool,
        typer.Option(
            "--show",
            help="Of the table on a terminal: each image beside its answer, as well as the terminal can (IMGCLS_SHOW).",
            rich_help_panel=PANEL,
        ),
    ] = False

    @property
    def path(self) -> Path | None:
        """The output; None for stdout. One in object storage is written here first."""
        if self.remote_address is not None:
            return working_path(self.remote_address)
        return None if self.output == Path("-") else self.output

    @property
    def remote_address(self) -> str | None:
        """Of an output in object storage."""
        return remote_address(self.output)

    @property
    def has_table_on_screen(self) -> bool:
        """Whether records scroll past on the screen."""
        return self.output is None and sys.stdout is not None and sys.stdout.isatty()

    def destination(self, reads: Iterable[Path | str | None]) -> "Destination":
        """Where records go, in the library's words.

        Args:
            reads: files that the run reads, if they are files.
        Raises:
            UsageError: a suffix that stands for no format.
        """
        from imgcls.outputs.destination import Destination, format_of

        return Destination(
            self.format_ or format_of(self.path),
            self.path,
            self.resume,
            self.overwrite,
            colour=console.stdout_has_colour(),
            report=self.html,
            # Who asks for a page and for nothing else is not shown thousands of lines too.
            report_only=self.html is not None and self.output is None and self.format_ is None,
            stream=sys.stdout.buffer if sys.stdout is not None else None,
            csv_safe=self.csv_safe,
            inline=self.inline() if self.show else None,
            reads=tuple(Path(each) for each in reads if each is not None),
        )

    def inline(self) -> "InlineImages | None":
        """How the terminal shows images; None where there is no terminal, or nothing coloured is wanted."""
        is_table = self.format_ in (None, "table") and self.has_table_on_screen
        if not is_table or not console.stdout_has_colour():
            return None
        from imgcls.outputs.formats.format import InlineImages
        from imgcls.outputs.formats.inline_images import CELL_PX, way_for

        true_colour = os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")
        return InlineImages(way_for(os.environ), true_colour, console.cell_px() or CELL_PX)

    def uploading(self, storage: "StorageOptions") -> contextlib.AbstractContextManager[None]:
        """Around a run; see `uploaded`."""
        return uploaded(self.remote_address, storage, resume=self.resume, overwrite=self.overwrite)

    def prepare_stdout(self) -> None:
        """Make stdout ready for records, where they go there.

        Raises:
            OutputError: it is closed.
        """
        if self.path is not None:
            return
        console.use_utf8_stdout()
