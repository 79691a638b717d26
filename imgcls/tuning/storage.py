"""A study in Optuna's own SQLite file: who tries what, and what came of it.

A trial that was cut goes back into the queue under its own number, with its values and what it has reported, so that a
study which was cut holds the same trials in the end as one which wasn't. Optuna's own `RetryFailedTrialCallback`
(deprecated since 4.9; its successor is experimental) adds a new trial instead, under another number, which counts as
one more and draws other values after it. Its heartbeat goes by the clock: a process that is halted for longer than
the grace period would have its trial run twice, and one that was killed keeps its trial as long. So who is alive is
asked of the system's locks (see folder.py). Optuna is imported here and in strategy.py.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls.tuning.importance import importance_of
from imgcls.tuning.results import TrialRecord, TrialState
from imgcls.tuning.running_trial import RunningTrial
from imgcls.tuning.space import Choices, SearchSpace, label_of
from imgcls.tuning.storage_errors import typed_errors
from imgcls.tuning.strategy import PrunerName, distribution_of, pruner_named, require_optuna, sampler_for
from imgcls.tuning.trial_facts import KEY, TrialFacts

if TYPE_CHECKING:
    import optuna

STUDY_NAME = "imgcls"
STATES: dict[str, TrialState] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}
# Writes of several processes take turns; a longer wait means that one of them hangs.
BUSY_SEC = 60
# A process that dies in a trial may have died of it, as when the system kills what takes too much memory. Deaths after
# which the trial had come further don't count.
MAX_ATTEMPTS = 3


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
            with typed_errors(path):
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
        with typed_errors():
            return dict(self._study.user_attrs)

    def set(self, name: str, value: Any) -> None:
        """Store one of the settings."""
        with typed_errors():
            if self._study.user_attrs.get(name) != value:
                self._study.set_user_attr(name, value)

    def use_pruner(self, name: PrunerName) -> None:
        """Choose who decides which trials to give up."""
        self._study.pruner = pruner_named(name, epochs=self._epochs)

    def begin_with(self, values: dict[str, Any]) -> None:
        """Put a trial with these values first, in a study that has none yet."""
        with typed_errors():
            if not self._study.get_trials(deepcopy=False):
                self._study.enqueue_trial(self._encoded(values))

    def take(self, wanted: int, *, is_alive: Callable[[int], bool], saved: Callable[[int], str]) -> RunningTrial | None:
        """Take on the next trial: one that was cut, or a new one.

        Args:
            wanted: trials in all.
            is_alive: whether a process still works on the trial of this number.
            saved: tells what that trial has saved from what it had saved before.
        Returns:
            None where no trial is left to begin.
        """
        with typed_errors():
            # Found anew each time: another process may have ended meanwhile.
            self._put_back_orphans(is_alive, saved)
            trials = self._study.get_trials(deepcopy=False)
            waiting = [trial.number for trial in trials if trial.state == self._states.WAITING]
            if len(trials) - len(waiting) >= wanted or (not waiting and self._is_exhausted()):
                return None
            number = min(waiting, default=len(trials))
            self._study.sampler = sampler_for(self._seed, number)
            trial = self._study.ask(self._distributions)
            assert trial.number == number, "the study's lock keeps others from taking a trial meanwhile"
            facts = TrialFacts.read(trial.user_attrs)
            facts = facts.changed(attempts=facts.attempts + 1, saved=saved(number))
            trial.set_user_attr(KEY, facts.to_dict())
            values = self._decoded(trial.params)
            same = (r for r in self.records() if r.is_over and r.values == values and r.state != "failed")
            return RunningTrial(
                number,
                values,
                dict(trials[number].intermediate_values) if number in waiting else {},
                facts.seconds,
                next(same, None),
                facts,
                trial,
            )

    def put_back(self, task: RunningTrial) -> None:
        """Return a trial that was cut to the queue."""
        with typed_errors():
            # Not its fault that it was cut.
            facts = TrialFacts(attempts=task.facts.attempts - 1, seconds=round(task.seconds, 3))
            task.handle.set_user_attr(KEY, facts.to_dict())
            self._set_state(task.number, self._states.WAITING)

    def end(self, task: RunningTrial, record: TrialRecord) -> None:
        """Store what a trial came to."""
        with typed_errors():
            facts = TrialFacts(
                outcome=record.state,
                seconds=round(record.seconds, 3),
                loss=record.loss,
                epoch=record.epoch,
                reason=record.reason,
            )
            task.handle.set_user_attr(KEY, facts.to_dict())
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
        with typed_errors():
            trials = self._study.get_trials(deepcopy=False)
            if [trial.number for trial in trials] != list(range(len(trials))):
                raise ValueError("its trials aren't numbered from 0 on")
            return tuple(self._record(trial, run_of) for trial in trials)

    def importance(self) -> dict[str, float] | None:
        """How much of what sets good trials apart each setting explains; see `importance_of`."""
        with typed_errors():
            return importance_of(self._study)

    def _put_back_orphans(self, is_alive: Callable[[int], bool], saved: Callable[[int], str]) -> None:
        """Find trials whose process has died, and return them to the queue."""
        for trial in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
            if is_alive(trial.number):
                continue
            facts = TrialFacts.read(trial.user_attrs)
            if saved(trial.number) != facts.saved:
                facts = facts.changed(attempts=0)
            gives_up = facts.attempts >= MAX_ATTEMPTS
            if gives_up:
                facts = facts.changed(reason=f"the process died in it {MAX_ATTEMPTS} times without progress")
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
            self._storage.set_trial_user_attr(trial_id, KEY, facts.to_dict())
            self._set_state(trial.number, self._states.FAIL if gives_up else self._states.WAITING)

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
        facts, reported = TrialFacts.read(trial.user_attrs), trial.intermediate_values
        # Optuna's states are fewer than ours.
        is_told = trial.state.is_finished() and facts.outcome is not None
        state: TrialState = facts.outcome if is_told and facts.outcome else STATES[trial.state.name]
        last = max(reported, default=None)
        fixed = trial.system_attrs.get("fixed_params", {})
        complete = state == "complete"
        return TrialRecord(
            number=trial.number,
            state=state,
            values=self._decoded({**fixed, **trial.params}),
            top1=trial.value if complete else reported[last] if last is not None else None,
            loss=facts.loss,
            epoch=facts.epoch if complete else last,
            seconds=facts.seconds,
            reason=facts.reason or "",
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
