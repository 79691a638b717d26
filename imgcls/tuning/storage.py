"""A study in Optuna's own SQLite file: who tries what, and what came of it.

A trial that was cut goes back into the queue under its own number, with its values and what it has reported, so that a
study which was cut holds the same trials in the end as one which wasn't. Optuna is imported here and in strategy.py.
"""

import contextlib
import importlib.util
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls.errors import OutputError, UsageError
from imgcls.tuning.results import TrialRecord, TrialState
from imgcls.tuning.space import Choices, SearchSpace, label_of
from imgcls.tuning.strategy import PrunerName, distribution_of, pruner_named, sampler_for

if TYPE_CHECKING:
    import optuna

STUDY_NAME = "imgcls"
# Under which a trial keeps what Optuna has no place for.
FACTS = "imgcls"
STATES: dict[str, TrialState] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}
# Writes of several processes take turns; a longer wait means that one of them hangs.
BUSY_SEC = 60
# A process that dies in a trial may have died of it, as when the system kills what takes too much memory.
MAX_ATTEMPTS = 3
# Below this many complete trials an estimate of importance is noise: PED-ANOVA's authors ask for five trials or more
# among the best, and a quarter of them counts as the best here.
MIN_FOR_IMPORTANCE = 20
BEST_QUANTILE = 0.25


def require_optuna() -> None:
    """Say how to get Optuna where it is missing; doesn't import it.

    Raises:
        UsageError: it isn't installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UsageError("tuning needs optuna, which is not installed", hint="pip install 'imgcls[tune]'")


@dataclass
class RunningTrial:
    """A trial that this process has taken on.

    Attributes:
        number: counted from 0.
        values: by dotted key.
        reported: top-1 by epoch, so far.
        seconds: that it took before it was cut.
        same_as: an earlier trial with the same values that is over, so that there is nothing to train.
        facts: what is stored with it, for the storage alone.
        handle: Optuna's own, likewise.
    """

    number: int
    values: dict[str, Any]
    reported: dict[int, float]
    seconds: float
    same_as: TrialRecord | None
    facts: dict[str, Any]
    handle: "optuna.Trial"

    def report(self, epoch: int, top1: float) -> None:
        """Tell the study how far the trial is; what is known already is left alone.

        Raises:
            OutputError: it can't be written.
        """
        if epoch not in self.reported:
            with _typed():
                self.handle.report(top1, epoch)
            self.reported[epoch] = top1

    def should_be_pruned(self) -> bool:
        """Whether others did so much better that it isn't worth going on.

        Raises:
            OutputError: the study can't be read.
        """
        with _typed():
            return bool(self.reported) and self.handle.should_prune()


class StudyStorage:
    """A study's trials, on disk.

    Every call that takes or ends a trial is made under the study's lock, which keeps processes apart.

    Args:
        path: the SQLite file; made if missing.
        space: what is searched.
        seed: of the search.
        epochs: of the recipe, by which the pruner is set.
    Raises:
        UsageError: Optuna isn't installed, or too old or too new for the file.
        OutputError: the file can't be read or written.
    """

    def __init__(self, path: Path, space: SearchSpace, *, seed: int, epochs: int) -> None:
        require_optuna()
        import optuna

        self._space, self._seed, self._epochs = space, seed, epochs
        self._states = optuna.trial.TrialState
        self._distributions = {key: distribution_of(dimension) for key, dimension in space.dimensions.items()}
        # Whoever else uses Optuna in this process gets its log back in the end.
        self._verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            with _typed(path):
                self._storage = optuna.storages.RDBStorage(
                    # The name is a stand-in: a path may hold what means something else in a URL.
                    "sqlite:///study.db",
                    engine_kwargs={"creator": lambda: sqlite3.connect(path, timeout=BUSY_SEC, check_same_thread=False)},
                )
                self._study = optuna.create_study(
                    storage=self._storage, study_name=STUDY_NAME, direction="maximize", load_if_exists=True
                )
                self._study_id = self._storage.get_study_id_from_name(STUDY_NAME)
        except BaseException:
            optuna.logging.set_verbosity(self._verbosity)
            raise

    def close(self) -> None:
        """Let go of the file."""
        import optuna

        self._storage.remove_session()
        self._storage.engine.dispose()
        optuna.logging.set_verbosity(self._verbosity)

    @property
    def settings(self) -> dict[str, Any]:
        """What the study was begun with: plain values by name."""
        with _typed():
            return dict(self._study.user_attrs)

    def set(self, name: str, value: Any) -> None:
        """Store one of the settings."""
        with _typed():
            if self._study.user_attrs.get(name) != value:
                self._study.set_user_attr(name, value)

    def use_pruner(self, name: PrunerName) -> None:
        """Choose who decides which trials to give up."""
        self._study.pruner = pruner_named(name, epochs=self._epochs)

    def begin_with(self, values: dict[str, Any]) -> None:
        """Put a trial with these values first, in a study that has none yet."""
        with _typed():
            if not self._study.get_trials(deepcopy=False):
                self._study.enqueue_trial(self._encoded(values))

    def take(self, wanted: int, *, is_alive: Callable[[int], bool]) -> RunningTrial | None:
        """Take on the next trial: one that was cut, or a new one.

        Args:
            wanted: trials in all.
            is_alive: whether a process still works on the trial of this number.
        Returns:
            None where no trial is left to begin.
        """
        with _typed():
            # Found anew each time: another process may have ended meanwhile.
            self._put_back_orphans(is_alive)
            trials = self._study.get_trials(deepcopy=False)
            waiting = [trial.number for trial in trials if trial.state == self._states.WAITING]
            if len(trials) - len(waiting) >= wanted or (not waiting and self._is_exhausted()):
                return None
            number = min(waiting, default=len(trials))
            self._study.sampler = sampler_for(self._seed, number)
            trial = self._study.ask(self._distributions)
            assert trial.number == number, "the study's lock keeps others from taking a trial meanwhile"
            facts = trial.user_attrs.get(FACTS, {})
            facts["attempts"] = facts.get("attempts", 0) + 1
            trial.set_user_attr(FACTS, facts)
            values = self._decoded(trial.params)
            same = (r for r in self.records() if r.is_over and r.values == values and r.state != "failed")
            return RunningTrial(
                number,
                values,
                dict(trials[number].intermediate_values) if number in waiting else {},
                facts.get("seconds", 0.0),
                next(same, None),
                facts,
                trial,
            )

    def put_back(self, task: RunningTrial) -> None:
        """Return a trial that was cut to the queue."""
        with _typed():
            # Not its fault that it was cut.
            attempts = task.facts["attempts"] - 1
            task.handle.set_user_attr(FACTS, {"attempts": attempts, "seconds": round(task.seconds, 3)})
            self._set_state(task.number, self._states.WAITING)

    def end(self, task: RunningTrial, record: TrialRecord) -> None:
        """Store what a trial came to."""
        with _typed():
            task.handle.set_user_attr(
                FACTS,
                {
                    "outcome": record.state,
                    "seconds": round(record.seconds, 3),
                    "loss": record.loss,
                    "epoch": record.epoch,
                    "reason": record.reason,
                },
            )
            if record.state == "complete":
                self._study.tell(task.handle, record.top1)
            else:
                # As pruned, not as failed, of which Optuna learns nothing: the search would walk to where training goes
                # wrong again and again.
                self._study.tell(task.handle, state=self._states.PRUNED)

    def records(self, run_of: Callable[[int], Path | None] = lambda _number: None) -> tuple[TrialRecord, ...]:
        """All trials, in order.

        Args:
            run_of: the folder of a trial's run.
        """
        with _typed():
            return tuple(self._record(trial, run_of) for trial in self._study.get_trials(deepcopy=False))

    def importance(self) -> dict[str, float] | None:
        """How much of what sets good trials apart each setting explains, the most important first.

        Source: Watanabe, Bansal and Hutter 2023 (PED-ANOVA), as Optuna has it.
        """
        import optuna

        with _typed(), warnings.catch_warnings():
            # Experimental in older versions.
            warnings.simplefilter("ignore")
            complete = self._study.get_trials(deepcopy=False, states=(self._states.COMPLETE,))
            if len(complete) < MIN_FOR_IMPORTANCE or len({trial.value for trial in complete}) == 1:
                return None
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_QUANTILE)
            found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {key: round(float(share), 4) for key, share in found.items()}

    def _put_back_orphans(self, is_alive: Callable[[int], bool]) -> None:
        """Find trials whose process has died, and return them to the queue."""
        for trial in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
            if is_alive(trial.number):
                continue
            if trial.user_attrs.get(FACTS, {}).get("attempts", 0) >= MAX_ATTEMPTS:
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
                facts = trial.user_attrs[FACTS] | {"reason": f"the process died in it {MAX_ATTEMPTS} times"}
                self._storage.set_trial_user_attr(trial_id, FACTS, facts)
                self._set_state(trial.number, self._states.FAIL)
            else:
                self._set_state(trial.number, self._states.WAITING)

    def _set_state(self, number: int, state: "optuna.trial.TrialState") -> None:
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        self._storage.set_trial_state_values(trial_id, state)

    def _is_exhausted(self) -> bool:
        combinations = self._space.num_combinations
        if combinations is None:
            return False
        over = {repr(record.values) for record in self.records() if record.is_over}
        return len(over) >= combinations

    def _record(self, trial: "optuna.trial.FrozenTrial", run_of: Callable[[int], Path | None]) -> TrialRecord:
        facts, reported = trial.user_attrs.get(FACTS, {}), trial.intermediate_values
        # Optuna's states are fewer than ours.
        is_told = trial.state.is_finished() and "outcome" in facts
        state: TrialState = facts["outcome"] if is_told else STATES[trial.state.name]
        last = max(reported, default=None)
        fixed = trial.system_attrs.get("fixed_params", {})
        complete = state == "complete"
        return TrialRecord(
            number=trial.number,
            state=state,
            values=self._decoded({**fixed, **trial.params}),
            top1=trial.value if complete else reported[last] if last is not None else None,
            loss=facts.get("loss"),
            epoch=facts.get("epoch") if complete else last,
            seconds=facts.get("seconds", 0.0),
            reason=facts.get("reason") or "",
            run=run_of(trial.number),
        )

    def _encoded(self, values: dict[str, Any]) -> dict[str, Any]:
        dimensions = self._space.dimensions
        return {
            key: label_of(value) if isinstance(dimensions[key], Choices) else value for key, value in values.items()
        }

    def _decoded(self, params: dict[str, Any]) -> dict[str, Any]:
        values = {}
        for key, dimension in self._space.dimensions.items():
            if key in params:
                values[key] = dimension.value_of(params[key]) if isinstance(dimension, Choices) else params[key]
        return values


@contextlib.contextmanager
def _typed(path: Path | None = None) -> Iterator[None]:
    """Turn what SQLite, SQLAlchemy and Optuna say of a file into errors that name what to do.

    Args:
        path: of the file, while it is opened.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    name = path or "the study"
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, sqlite3.Error) as exc:
        cause = exc.__cause__ or exc
        said = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise OutputError(f"can't use {name}: {said}", hint="check the disk and the file's permissions") from exc
    except RuntimeError as exc:
        if path is None:
            raise
        raise UsageError(
            f"{path} is of another Optuna: {exc}", hint="install the version that made it, or begin a new study"
        ) from exc
