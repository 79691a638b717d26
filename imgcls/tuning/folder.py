"""The folder of a study: recipe.toml, space.toml, study.db, best.toml, trials.csv, and each trial's run."""

import contextlib
import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from imgcls.errors import OutputError, UsageError
from imgcls.host.data_files import json_text
from imgcls.host.files import output_error, remove_stale_parts, write_text
from imgcls.runs.new_folder import LOCK_NAME, make_folder, same_text
from imgcls.tuning.results import TrialRecord
from imgcls.tuning.space import label_of

STUDIES = Path("studies")
LOCKS = ".trials"
RECIPE_NAME, SPACE_NAME = "recipe.toml", "space.toml"
# Taking, ending and noting a trial takes a fraction of a second; a longer wait means that a process hangs.
LOCK_SEC = 60
COLUMNS = ("trial", "state", "top1", "loss", "epoch", "seconds", "reason")


class StudyFolder:
    """A study's folder, which several processes may share; use `create` or `reopen`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / LOCK_NAME, timeout=LOCK_SEC)
        self._held: dict[int, FileLock] = {}

    @classmethod
    def create(cls, path: Path | None, *, name: str, space: str, recipe: str) -> Self:
        """A new folder.

        Args:
            path: as the user named it; None for `studies/<name>-<date>-<time>`.
            name: of the recipe.
            space: a TOML text.
            recipe: likewise.
        Raises:
            OutputError: it exists and isn't empty, or can't be made.
        """
        return cls(make_folder(path, parent=STUDIES, name=name, besides=cls.leftovers(path, space, recipe)))

    @classmethod
    def leftovers(cls, path: Path | None, space: str, recipe: str | None = None) -> tuple[str, ...]:
        """The names of files in a folder that a process killed in `begin` left there, and the next one may replace.

        Args:
            path: of the folder; None for a new one.
            space: what would be written there.
            recipe: likewise; None where it isn't known yet, and may be any.
        """
        if path is None or not (found := same_text(path, SPACE_NAME, space)):
            return ()
        return (*found, RECIPE_NAME) if recipe is None else (*found, *same_text(path, RECIPE_NAME, recipe))

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """The folder of a study that is to go on.

        Raises:
            UsageError: it isn't one.
        """
        folder = cls(path)
        for file in (folder.recipe_path, folder.space_path):
            if not file.is_file():
                raise UsageError(
                    f"{path} is not the folder of a study: it holds no {file.name}",
                    hint="name the folder that 'imgcls tune' made, such as studies/mlp-20260131-120000",
                )
        return folder

    @property
    def recipe_path(self) -> Path:
        """What every trial begins from."""
        return self.path / RECIPE_NAME

    @property
    def space_path(self) -> Path:
        """What is searched."""
        return self.path / SPACE_NAME

    @property
    def storage_path(self) -> Path:
        """Optuna's own file."""
        return self.path / "study.db"

    @property
    def best_path(self) -> Path:
        """The best recipe so far."""
        return self.path / "best.toml"

    def run_path(self, number: int) -> Path:
        """The folder of a trial's run."""
        return self.path / "trials" / f"{number:04d}"

    def existing_run(self, number: int) -> Path | None:
        """The same, where the trial has come so far as to have one."""
        path = self.run_path(number)
        return path if path.is_dir() else None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from taking, ending or noting trials.

        Raises:
            OutputError: another process doesn't let go, or the folder can't be written.
        """
        try:
            self._lock.acquire()
        except Timeout as exc:
            raise OutputError(
                f"another process has held the study {self.path} for {LOCK_SEC} s", hint="see whether it hangs"
            ) from exc
        except OSError as exc:
            raise output_error(self.path, exc) from exc
        except NotImplementedError as exc:
            raise OutputError(f"can't lock {self.path}: its file system has no locks", hint="name a local -o") from exc
        try:
            yield
        finally:
            self._lock.release()

    def hold(self, number: int) -> bool:
        """Show other processes that this one works on a trial; False where another one does.

        The lock is the system's, and ends with its process however that ends. To be called under `locked`.
        """
        path = self.path / LOCKS / f"{number:04d}.lock"
        lock = FileLock(path)
        try:
            path.parent.mkdir(exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as exc:
            raise output_error(path, exc) from exc
        self._held[number] = lock
        return True

    def let_go(self, number: int) -> None:
        """End `hold`; to be called under `locked`, so that nobody waits for the file that is removed."""
        lock = self._held.pop(number)
        lock.release()
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()

    def is_alive(self, number: int) -> bool:
        """Whether some process works on a trial; to be called under `locked`."""
        if number in self._held:
            return True
        if not self.hold(number):
            return True
        self.let_go(number)
        return False

    def saved(self, number: int) -> str:
        """Tells what a trial has saved of itself from what it had saved before; empty where it has saved nothing."""
        try:
            found = (self.run_path(number) / "last.pt").stat()
        except OSError:
            return ""
        return f"{found.st_ino}/{found.st_size}/{found.st_mtime_ns}"

    def begin(self, recipe: str, space: str) -> None:
        """Store what the study begins from: TOML texts; with the second file it is a study."""
        write_text(self.space_path, space)
        write_text(self.recipe_path, recipe)

    def write_result(self, result: dict[str, Any]) -> None:
        """Store the JSON answer."""
        write_text(self.path / "result.json", json_text(result, indent=2, allow_nan=True) + "\n")

    def write_trials(self, trials: Sequence[TrialRecord], keys: Sequence[str]) -> None:
        """Store a line a trial, for spreadsheets.

        Args:
            trials: all of them.
            keys: of the search space, a column each.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*COLUMNS, *keys])
        for trial in trials:
            plain = trial.to_dict()
            values = [label_of(trial.values[key]) if key in trial.values else "" for key in keys]
            writer.writerow([*(plain[column] for column in COLUMNS), *values])
        write_text(self.path / "trials.csv", text.getvalue())

    def tidy(self, trials: Sequence[TrialRecord], best: TrialRecord | None) -> None:
        """Delete the checkpoints of trials that are over; the best one keeps its best.pt. Figures all stay."""
        for trial in trials:
            if trial.is_over and trial.run is not None:
                kept = {"best.pt"} if best is not None and trial.number == best.number else set()
                for name in {"best.pt", "last.pt"} - kept:
                    # On Windows a file that somebody reads can't be deleted; the next call may.
                    with contextlib.suppress(OSError):
                        (trial.run / name).unlink(missing_ok=True)
                    remove_stale_parts(trial.run / name)

    def clear_run(self, number: int) -> None:
        """Delete what a trial has left that can't be gone on with."""
        try:
            shutil.rmtree(self.run_path(number))
        except OSError as exc:
            raise output_error(self.run_path(number), exc) from exc
