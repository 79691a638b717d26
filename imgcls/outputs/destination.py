"""Where the records of a run go, and what of it can't be meant."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgcls.errors import OutputError, UsageError
from imgcls.host.files import output_error
from imgcls.images.inputs.source import Source
from imgcls.outputs.compression import SUFFIXES, check_compression
from imgcls.outputs.formats import FORMATS
from imgcls.outputs.formats.format import InlineImages, OutputFormat

# Names of what is open already, be it a file: to be written to, and never replaced.
OPEN_FILES = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


def format_of(path: Path | None) -> str:
    """The format that a file's suffix stands for; a table for stdout, pipes and devices.

    Raises:
        UsageError: the suffix stands for none.
    """
    if path is None or not _may_be_file(path):
        return "table"
    name = path.name.lower()
    suffix = Path(name.removesuffix(compression_of(path))).suffix
    for each in FORMATS.values():
        if suffix in each.suffixes:
            return each.name
    known = ", ".join(suffix for each in FORMATS.values() for suffix in each.suffixes)
    what = f"{suffix} stands for no output format" if suffix else "a name without a suffix tells no output format"
    raise UsageError(f"--output {path}: {what}", hint=f"end it with one of {known}; or say which: -f csv, -f table")


def compression_of(path: Path | None) -> str:
    """`.gz`, `.zst`, or empty for a file that isn't compressed."""
    suffix = path.suffix.lower() if path is not None else ""
    return suffix if suffix in SUFFIXES else ""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where records go.

    Attributes:
        format: how they are written, one of `FORMATS`.
        path: an output file; None for stdout. A device or a pipe is written to as stdout is.
        resume: keep what an output already has of unchanged files.
        overwrite: replace an existing output.
        colour: whether a table on stdout has colours.
        report: a page of HTML beside the output; None for none.
        report_only: whether the page is the only output.
        stream: where records go that have no path, such as `sys.stdout.buffer`.
        csv_safe: whether CSV cells that a spreadsheet would run as a formula are escaped.
        inline: how a table on a terminal shows each image; None for text alone.
        reads: files that the run reads beside its inputs: the list, the model. None of them may be the output.
    """

    format: str = "table"
    path: Path | None = None
    resume: bool = False
    overwrite: bool = False
    colour: bool = False
    report: Path | None = None
    report_only: bool = False
    stream: BinaryIO | None = None
    csv_safe: bool = False
    inline: InlineImages | None = None
    reads: tuple[Path, ...] = ()

    @property
    def output_format(self) -> OutputFormat:
        """What there is to know of the format."""
        return FORMATS[self.format]

    @property
    def target(self) -> Path | None:
        """The file itself, where `path` is a link to it: every run must lock, name and replace the same one."""
        return Path(os.path.realpath(self.path)) if self.path is not None and self.path.is_symlink() else self.path

    @property
    def compression(self) -> str:
        """`.gz`, `.zst`, or empty."""
        return compression_of(self.path)

    @property
    def is_file(self) -> bool:
        """Whether the output is a file of our own, rather than stdout, a pipe or a device."""
        return self.path is not None and _may_be_file(self.path)

    @property
    def is_resumable(self) -> bool:
        """Whether a later run can continue the output."""
        return self.is_file and self.output_format.is_resumable and not self.compression

    def check(self) -> None:
        """Refuse what can't be meant, before any work.

        Raises:
            UsageError: options that contradict each other.
            OutputError: an output is there, and nobody said what to do with it; another run holds it; or its folder
                can't even be looked into.
        """
        try:
            self._check_options()
            self.check_free()
            if self.is_file and self.target:
                from imgcls.outputs.lock import refuse_if_held
                from imgcls.outputs.manifest import refuse_foreign_manifest

                refuse_if_held(self.target)
                refuse_foreign_manifest(self.target)
        except OSError as exc:
            there = Path(exc.filename or self.path or "")
            raise output_error(there, exc, option="--html" if there == self.report else "--output") from exc

    def check_free(self) -> None:
        """Refuse an output that is there already, unless it is to be continued or replaced.

        Asked before any work, and again by the one run that holds the output: another one may just have written it.

        Raises:
            OutputError: it is there.
        """
        if self.report:
            self._check_free(self.report, "--html")
        if self.is_file and self.path:
            from imgcls.outputs.journal import part_path

            self._check_free(self.path, "--output")
            self._check_free(part_path(self.target or self.path), "--output")

    def has_earlier_records(self) -> bool:
        """Whether an earlier run has left something that `resume` may keep."""
        from imgcls.outputs.journal import part_path

        target = self.target
        return target is not None and any(os.path.exists(path) for path in (target, part_path(target)))  # noqa: PTH110

    def without_outputs(self, sources: Iterable[Source]) -> Iterator[Source]:
        """The same inputs, as long as none of them is an output of this run.

        Raises:
            UsageError: one is, and replacing it would destroy it.
        """
        there = {identity for path in self._written() if (identity := _identity(path)) is not None}
        for source in sources:
            if there and source.path is not None and _identity(source.path) in there:
                raise UsageError(f"{source.name} is an input, and an output too", hint="name another --output")
            yield source

    def _check_options(self) -> None:
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite exclude each other", hint="use one of them")
        if self.compression and not self.output_format.is_text:
            raise UsageError(f"{self.format} is compressed already", hint=f"-o results.{self.format}")
        if self.resume and not self.is_resumable:
            what = "an output file in jsonl or csv" + (", not compressed" if self.compression else "")
            raise UsageError(f"--resume needs {what}", hint="add -f jsonl -o results.jsonl")
        if not self.output_format.is_text and not self.is_file:
            name = self.format
            raise UsageError(f"{name} goes to a file only, not to stdout or a pipe", hint=f"add -o results.{name}")
        self.output_format.require()
        check_compression(self.compression)
        if self.report and self.path and self.report.resolve() == self.path.resolve():
            raise UsageError(f"{self.report} can't be both --output and --html", hint="name two files")
        there = {_identity(path) for path in self._written()} - {None}
        for path in self.reads:
            if _identity(path) in there:
                raise UsageError(f"{path} is what this run reads, and its output too", hint="name another --output")

    def _written(self) -> list[Path]:
        return [path for path in (self.path if self.is_file else None, self.report) if path is not None]

    def _check_free(self, there: Path, option: str) -> None:
        if there.is_dir():
            raise OutputError(f"{there} is a folder", hint=f"name a file with {option}")
        if there.exists() and not self.resume and not self.overwrite:
            ways = "--overwrite replaces it"
            if self.is_resumable:
                ways = f"--resume continues it, {ways}"
            raise OutputError(f"{there} exists already", hint=ways)


def _may_be_file(path: Path) -> bool:
    if path.as_posix().startswith(OPEN_FILES):
        return False
    return path.is_file() or path.is_dir() or not path.exists()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
