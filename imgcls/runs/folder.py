"""The folder that a run leaves behind: config.toml, metrics.jsonl, best.pt, last.pt, result.json."""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from imgcls.errors import DataError, OutputError, UsageError
from imgcls.host.data_files import json_text
from imgcls.host.files import output_error, write_text
from imgcls.runs import metrics
from imgcls.runs.new_folder import LAUNCH_NAME, LOCK_NAME, make_folder, same_text

RUNS = Path("runs")


class RunFolder:
    """A run's folder, held by this process until it is closed.

    Use `create` or `reopen`; both lock the folder, so that two runs can't write to one.

    Args:
        path: the folder.
        writes: False where another process of the same run holds and writes it: then nothing here touches the disk.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        if not writes:
            return
        self._lock = FileLock(path / LOCK_NAME)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as exc:
            raise OutputError(
                f"another imgcls train is writing to {path}", hint="wait for it to end, or name another folder: -o DIR"
            ) from exc
        except OSError as exc:
            raise output_error(path, exc) from exc

    @classmethod
    def create(cls, path: Path | None, *, name: str, config: str = "") -> Self:
        """A new folder.

        Args:
            path: as the user named it; None for `runs/<name>-<date>-<time>`.
            name: of the recipe.
            config: the resolved recipe, for `leftovers`.
        Raises:
            OutputError: it exists and isn't empty, or can't be made.
        """
        return cls(make_folder(path, parent=RUNS, name=name, besides=cls.leftovers(path, config)))

    @staticmethod
    def leftovers(path: Path | None, config: str) -> tuple[str, ...]:
        """The names of files in a folder that a run killed at its start left there, and the same run may replace.

        Args:
            path: of the folder; None for a new one.
            config: the resolved recipe that would be written there.
        """
        found = same_text(path, "config.toml", config)
        # An epoch is measured before its weights are saved; with weights, or more epochs, there is something to lose.
        if path is not None and found and not any((path / name).exists() for name in ("best.pt", "last.pt")):
            with contextlib.suppress(DataError):
                if len(metrics.read_metrics(path)) <= 1:
                    return (*found, metrics.NAME)
        return found

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """The folder of a run that is to go on.

        Raises:
            UsageError: it isn't a run's folder.
            OutputError: another process holds it.
        """
        config_path(path)
        return cls(path)

    @property
    def best_path(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.path / "best.pt"

    @property
    def last_path(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / "last.pt"

    def write_launch(self, name: str) -> None:
        """Store which call of torchrun made the folder."""
        if self.writes:
            write_text(self.path / LAUNCH_NAME, name + "\n")

    def write_config(self, text: str) -> None:
        """Store the resolved recipe."""
        if self.writes:
            write_text(self.path / "config.toml", text)

    def write_result(self, result: dict[str, Any]) -> None:
        """Store what the run came to."""
        if not self.writes:
            return
        write_text(self.path / "result.json", json_text(result, indent=2, allow_nan=True) + "\n")

    def drop_result(self) -> None:
        """Take back what the run came to: it goes on."""
        if self.writes:
            (self.path / "result.json").unlink(missing_ok=True)

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add an epoch's line to metrics.jsonl, on disk before this returns.

        Raises:
            OutputError: it can't be written.
        """
        if not self.writes:
            return
        path = self.path / metrics.NAME
        try:
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json_text(row, allow_nan=True) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise output_error(path, exc) from exc

    def drop_metrics_after(self, epoch: int) -> None:
        """Keep the lines of epochs up to `epoch`: later or torn ones are written again by the resumed run.

        Raises:
            DataError: some line is none of ours, and would be lost.
            OutputError: it can't be written.
        """
        path = self.path / metrics.NAME
        if self.writes and path.exists():
            kept = [row for row in metrics.read_metrics(self.path) if row["epoch"] <= epoch]
            write_text(path, "".join(json_text(row, allow_nan=True) + "\n" for row in kept))

    def close(self) -> None:
        """Let go of the folder."""
        if self.writes:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def config_path(run: Path) -> Path:
    """A run's resolved recipe.

    Raises:
        UsageError: it isn't a run's folder.
    """
    path = run / "config.toml"
    if not path.is_file():
        raise UsageError(
            f"{run} is not the folder of a run: it holds no config.toml",
            hint="name the folder that 'imgcls train' made, such as runs/cnn-20260131-120000",
        )
    return path


def find_launched(path: Path | None, *, name: str, launch: str) -> Path | None:
    """The folder that a call of torchrun made before it started its processes again.

    Args:
        path: as the user named it; None where it was called `runs/<name>-<date>-<time>`.
        name: of the recipe.
        launch: what `write_launch` stored.
    Returns:
        None where there is none yet, or nothing in it to go on with.
    """
    for folder in [path] if path is not None else sorted(RUNS.glob(f"{name}-*"), reverse=True):
        try:
            made_by = (folder / LAUNCH_NAME).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if made_by == launch and (folder / "config.toml").is_file():
            return folder
    return None
