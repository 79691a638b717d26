"""The folder that a run leaves behind: config.toml, metrics.jsonl, best.pt, last.pt, result.json."""

import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from imgcls.errors import OutputError, UsageError
from imgcls.host.files import PART_SUFFIX, output_error, replacing, write_text
from imgcls.runs.events import Score

RUNS = Path("runs")
LOCK_NAME = ".lock"
# Which call of torchrun made the folder, for the processes that it starts again.
LAUNCH_NAME = ".launch"


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
    def create(cls, path: Path | None, *, name: str) -> Self:
        """A new folder.

        Args:
            path: as the user named it; None for `runs/<name>-<date>-<time>`.
            name: of the recipe.
        Raises:
            OutputError: it exists and isn't empty, or can't be made.
        """
        return cls(make_folder(path, parent=RUNS, name=name))

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
        write_text(self.path / "result.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")

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
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise output_error(path, exc) from exc

    def drop_metrics_after(self, epoch: int) -> None:
        """Keep the lines of epochs up to `epoch`: later or torn ones are written again by the resumed run."""
        path = self.path / "metrics.jsonl"
        if not self.writes or not path.exists():
            return
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if 0 < _epoch_of(line) <= epoch]
        with replacing(path) as part:
            part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8", newline="\n")

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


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, without a torn one at its end; none where there is no such file."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if _epoch_of(line) > 0]


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


def make_folder(path: Path | None, *, parent: Path, name: str, besides: Collection[str] = ()) -> Path:
    """A new folder for a run or a study.

    Args:
        path: as the user named it; None for `<parent>/<name>-<date>-<time>`.
        parent: of folders that nobody named.
        name: of the recipe.
        besides: names of files that may be there already.
    Raises:
        OutputError: it exists and isn't empty, or can't be made.
    """
    try:
        if path is None:
            return _new_folder(parent / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
        refuse_filled(path, besides=besides)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(path or parent, exc) from exc
    return path


def refuse_filled(path: Path, *, besides: Collection[str] = ()) -> None:
    """Make sure that a new run would overwrite nothing; a folder that doesn't exist yet is fine.

    Pieces of files that a killed process left don't count.

    Args:
        path: of the folder.
        besides: names of files that don't count either.
    Raises:
        OutputError: it isn't a folder, can't be read, or holds something.
    """
    try:
        allowed = (LOCK_NAME, LAUNCH_NAME, *besides)
        filled = path.exists() and any(
            entry.name not in allowed and not entry.match(f".*{PART_SUFFIX}") for entry in path.iterdir()
        )
    except OSError as exc:
        raise output_error(path, exc) from exc
    if filled:
        raise OutputError(
            f"{path} is not empty", hint=f"continue the run in it with --resume {path}, or name another folder"
        )


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


def _new_folder(wanted: Path) -> Path:
    """Make a folder, under another name where another run that began in the same second has taken this one.

    Raises:
        OSError: it can't be made.
    """
    for number in range(1, 1000):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise OutputError(f"{wanted} and a thousand like it exist", hint="name another folder: -o DIR")


def _epoch_of(line: str) -> int:
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return 0


def best_score(metrics: Sequence[Mapping[str, Any]]) -> Score | None:
    """The epoch behind best.pt; None before the first has ended.

    Args:
        metrics: lines of metrics.jsonl.
    """
    best: Score | None = None
    for line in metrics:
        score = Score(line["epoch"], line["top1"], line["loss"])
        # Nothing is chosen by the test images.
        if line.get("split") == "test" or score.beats(best):
            best = score
    return best
