"""Which inputs `imgcls predict` takes."""

import os
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from imgcls.images.archives.names import archive_suffix, is_streamed
from imgcls.images.object_storage.urls import StorageOptions, is_object_url

if TYPE_CHECKING:
    from imgcls.images.inputs.selection import InputSelection
    from imgcls.images.inputs.watching import Watch

PANEL = "Which inputs"


class InputOptions(NamedTuple):
    """What of the command line says which inputs; see each option's help."""

    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders, archives (.tar, .zip), patterns, URLs (also s3://), or - for one image on stdin.",
            metavar="INPUT...",
        ),
    ] = None
    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from",
            help="A list of files, folders and URLs: one per line, each taken literally, or a column of Parquet "
            "or CSV; - for stdin.",
            metavar="FILE",
            rich_help_panel=PANEL,
        ),
    ] = None
    input_column: Annotated[
        str | None,
        typer.Option(
            "--input-column",
            help="The column of the list that names the inputs; of Parquet by default path, file, image, url, ...",
            metavar="NAME",
            rich_help_panel=PANEL,
        ),
    ] = None
    null: Annotated[
        bool, typer.Option("--null", "-0", help="The list's entries end with a NUL byte.", rich_help_panel=PANEL)
    ] = False
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            help="In folders and patterns: only names like this, such as '*.png'; may be repeated.",
            metavar="PATTERN",
            rich_help_panel=PANEL,
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            help="In folders and patterns: leave out files and folders with names like this; may be repeated.",
            metavar="PATTERN",
            rich_help_panel=PANEL,
        ),
    ] = None
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            help="Only shard I of N, divided by name, the same on every machine.",
            metavar="I/N",
            rich_help_panel=PANEL,
        ),
    ] = None
    newer_than: Annotated[
        str | None,
        typer.Option(
            "--newer-than",
            help="Only files changed since: an age (36h, 7d), a date, or another file; --resume keeps older records.",
            metavar="WHEN",
            rich_help_panel=PANEL,
        ),
    ] = None
    any_suffix: Annotated[
        bool,
        typer.Option(
            "--any-suffix",
            help="In folders and patterns: images with any name (photo.jpg.1, IMG_0001), found by their first bytes.",
            rich_help_panel=PANEL,
        ),
    ] = False
    all_frames: Annotated[
        bool,
        typer.Option(
            "--all-frames",
            help="A record for each frame of an animation and each page, at most 10,000 per file; else the first.",
            rich_help_panel=PANEL,
        ),
    ] = False
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="A folder without any image ends with code 5, once all is done.", rich_help_panel=PANEL
        ),
    ] = False

    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Of folders: also what arrives from now on, each file once it is finished, until Ctrl-C.",
            rich_help_panel=PANEL,
        ),
    ] = False
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            "--endpoint-url",
            help="Server for s3://, where it isn't Amazon's: MinIO, for example.",
            metavar="URL",
            rich_help_panel=PANEL,
        ),
    ] = None
    anonymous: Annotated[
        bool,
        typer.Option(
            "--anonymous", help="Ask object storage without credentials, as for public buckets.", rich_help_panel=PANEL
        ),
    ] = False

    @property
    def storage(self) -> StorageOptions:
        """How object storage is reached."""
        return StorageOptions(self.endpoint_url, self.anonymous)

    def selection(self, *, max_stdin_bytes: int) -> "InputSelection":
        """The inputs in the library's words.

        Args:
            max_stdin_bytes: an image on stdin may have.
        """
        from imgcls.images.inputs.selection import InputSelection

        return InputSelection(
            tuple(self.inputs or ()),
            self.files_from,
            self.null,
            tuple(self.include or ()),
            tuple(self.exclude or ()),
            self.shard,
            self.newer_than,
            max_stdin_bytes,
            self.any_suffix,
            self.storage,
            self.watching(),
            self.input_column,
        )

    def watching(self) -> "Watch | None":
        """The watch on the folders, where one was asked for.

        Raises:
            UsageError: something else than folders is named.
        """
        if not self.watch:
            return None
        from imgcls.images.inputs.watching import Watch, check_watchable

        check_watchable(self.inputs or ())
        return Watch()

    @property
    def come_once(self) -> bool:
        """Whether the inputs can't be walked through twice, as stdin and pipes can't."""
        from_pipe = self.files_from is not None and not os.path.isfile(self.files_from)  # noqa: PTH113
        # A compressed archive could be, but unpacking it costs about as much as decoding its images; and listing a
        # bucket costs money.
        once = (each == "-" or is_streamed(each) or is_object_url(each) for each in self.inputs or ())
        return from_pipe or self.watch or any(once)

    @property
    def may_be_many(self) -> bool:
        """Whether there may be more than one; a folder or a pattern stands for many."""
        if self.files_from is not None or self.inputs is None or len(self.inputs) != 1:
            return True
        only = self.inputs[0]
        # Unlike Path.is_file, this is never an error: a name may be too long, or lead where nobody may look.
        is_one = ("://" in only and not only.endswith("/")) or os.path.isfile(only)  # noqa: PTH113
        return not (only == "-" or (is_one and not archive_suffix(only)))
