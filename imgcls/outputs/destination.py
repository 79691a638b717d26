"""Where the records of a run go, and what of it can't be meant."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from imgcls.errors import OutputError, UsageError
from imgcls.host.files import output_error
from imgcls.outputs.formats.parquet import require_pyarrow
from imgcls.outputs.journal import part_path
from imgcls.outputs.lock import refuse_if_held

OutputFormat = Literal["table", "json", "jsonl", "csv", "parquet"]
LOG_FORMATS = ("jsonl", "csv")
# Names of what is open already, be it a file: to be written to, and never replaced.
OPEN_FILES = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


def format_of(path: Path | None) -> OutputFormat:
    """The format that a file's suffix stands for; a table for other files and for stdout."""
    suffixes: dict[str, OutputFormat] = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
    return suffixes.get(path.suffix.lower(), "table") if path is not None else "table"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where records go.

    Attributes:
        format: how they are written.
        path: an output file; None for stdout. A device or a pipe is written to as stdout is.
        resume: keep what an output already has of unchanged files.
        overwrite: replace an existing output.
        colour: whether a table on stdout has colours.
        report: a page of HTML beside the output; None for none.
        stream: where text goes that has no path, such as `sys.stdout`.
    """

    format: OutputFormat = "table"
    path: Path | None = None
    resume: bool = False
    overwrite: bool = False
    colour: bool = False
    report: Path | None = None
    stream: TextIO | None = None

    @property
    def target(self) -> Path | None:
        """The file itself, where `path` is a link to it: every run must lock, name and replace the same one."""
        return Path(os.path.realpath(self.path)) if self.path is not None and self.path.is_symlink() else self.path

    @property
    def is_file(self) -> bool:
        """Whether the output is a file of our own, rather than stdout, a pipe or a device."""
        if self.path is None or self.path.as_posix().startswith(OPEN_FILES):
            return False
        return self.path.is_file() or self.path.is_dir() or not self.path.exists()

    @property
    def is_log(self) -> bool:
        """Whether a later run can continue the output."""
        return self.is_file and self.format in LOG_FORMATS

    def check(self) -> None:
        """Refuse what can't be meant, before any work.

        Raises:
            UsageError: options that contradict each other.
            OutputError: an output is there, and nobody said what to do with it; another run holds it; or its folder
                can't even be looked into.
        """
        try:
            self._check()
        except OSError as exc:
            there = Path(exc.filename or self.path or "")
            raise output_error(there, exc, option="--html" if there == self.report else "--output") from exc

    def _check(self) -> None:
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite exclude each other", hint="use one of them")
        if self.resume and not self.is_log:
            raise UsageError("--resume needs an output file in jsonl or csv", hint="add -f jsonl -o results.jsonl")
        if self.format == "parquet":
            if not self.is_file:
                raise UsageError("parquet goes to a file only, not to stdout or a pipe", hint="add -o results.parquet")
            require_pyarrow()
        ways = "--resume continues it, --overwrite replaces it" if self.is_log else "--overwrite replaces it"
        if self.report:
            if self.path and self.report.resolve() == self.path.resolve():
                raise UsageError(f"{self.report} can't be both --output and --html", hint="name two files")
            self._check_free(self.report, "--html", ways)
        if self.is_file and self.path:
            self._check_free(self.path, "--output", ways)
            self._check_free(part_path(self.target or self.path), "--output", ways)
            refuse_if_held(self.target or self.path)

    def _check_free(self, there: Path, option: str, ways: str) -> None:
        if there.is_dir():
            raise OutputError(f"{there} is a folder", hint=f"name a file with {option}")
        if there.exists() and not self.resume and not self.overwrite:
            raise OutputError(f"{there} exists already", hint=ways)
