"""Trials one after the other, until there are enough, and the study's files kept up to date."""

from pathlib import Path

from imgcls.errors import ConfigError, DataError, DeviceError, ImgclsError
from imgcls.host.files import write_text
from imgcls.tuning.best_recipe import best_recipe_text
from imgcls.tuning.folder import StudyFolder
from imgcls.tuning.results import StudyResult, StudyStarted, TrialEnded, TrialRecord, best_of
from imgcls.tuning.running_trial import RunningTrial
from imgcls.tuning.space import recipe_with
from imgcls.tuning.storage import StudyStorage
from imgcls.tuning.strategy import PRUNERS, PrunerName
from imgcls.tuning.task import Task
from imgcls.tuning.trial import Surroundings, free_memory, run_trial

NUM_TRIALS = 20


class Search:
    """Takes trials until none is left, and keeps best.toml and trials.csv up to date."""

    def __init__(self, task: Task, folder: StudyFolder, storage: StudyStorage) -> None:
        self.task, self.folder, self.storage = task, folder, storage
        self.num_trials, self.pruner = NUM_TRIALS, PRUNERS[0]
        self.begins_with_recipe = False

    def begin(self, num_trials: int | None, pruner: PrunerName | None) -> None:
        """Settle what was asked for now or before, and put the recipe itself first.

        Raises:
            DataError: the images aren't those that the study began with.
        """
        task, storage = self.task, self.storage
        with self.folder.locked():
            before = storage.settings
            same = before.get("fingerprint", task.fingerprint) == task.fingerprint
            # A copy has other times, and the same images.
            if not same and before.get("content") != task.content:
                raise DataError(
                    f"the images are not those that the study in {self.folder.path} began with",
                    hint="restore the data, or start a new study",
                )
            # Those that are over can't be unwanted any more.
            num_over = sum(trial.is_over for trial in storage.records())
            self.num_trials = max(num_trials or before.get("num_trials", NUM_TRIALS), num_over)
            self.pruner = pruner or before.get("pruner", PRUNERS[0])
            for name in ("num_trials", "pruner"):
                storage.set(name, getattr(self, name))
            storage.set("fingerprint", task.fingerprint)
            storage.set("content", task.content)
            storage.use_pruner(self.pruner)
            as_it_stands = task.space.values_in(task.tried)
            self.begins_with_recipe = as_it_stands is not None
            if as_it_stands is not None:
                storage.begin_with(as_it_stands)

    def run(self, around: Surroundings) -> StudyResult:
        """Run trials until there are enough, or until `should_stop` gives a reason; see `tune`."""
        with self.folder.locked():
            trials = self.publish()
        around.on_event(self._started(trials))
        stopped: str | None = None
        is_first = True
        while stopped is None and (trial := self._take()) is not None:
            # Asked between trials too, but not before the first, so that there is progress however short the time is.
            stopped = self._try(trial, around, stopped=None if is_first else around.should_stop())
            is_first = False
            if stopped is not None:
                break
            with self.folder.locked():
                trials = self.publish()
            ended, num_over = trials[trial.number], sum(each.is_over for each in trials)
            if ended.state == "out_of_memory":
                free_memory()
            around.on_event(TrialEnded(ended, best_of(trials), num_over))
        return self._finish(stopped)

    def _take(self) -> RunningTrial | None:
        with self.folder.locked():
            trial = self.storage.take(self.num_trials, is_alive=self.folder.is_alive, saved=self.folder.saved)
            if trial is not None:
                held = self.folder.hold(trial.number)
                assert held, "the study's lock keeps others from taking a trial meanwhile"
            return trial

    def _try(self, trial: RunningTrial, around: Surroundings, *, stopped: str | None) -> str | None:
        """Run a trial and store what it came to, or put it back and return the reason why it was cut.

        Args:
            trial: to run.
            around: what all trials share.
            stopped: a reason to put it back unrun.
        """
        ended: TrialRecord | str | None = stopped
        was_trials_fault = False
        try:
            if ended is None:
                ended = run_trial(trial, around)
        except Exception as exc:
            # A full disk or missing images are no trial's fault. What nobody foresaw may well be, and happen again.
            was_trials_fault = not isinstance(exc, ImgclsError)
            raise
        finally:
            with self.folder.locked():
                if isinstance(ended, TrialRecord):
                    self.storage.end(trial, ended)
                elif not was_trials_fault:
                    self.storage.put_back(trial)
                self.folder.let_go(trial.number)
        return ended if isinstance(ended, str) else None

    def publish(self) -> tuple[TrialRecord, ...]:
        """Bring the folder's files up to date; to be called under the study's lock."""
        task, folder = self.task, self.folder
        trials = self.storage.records(folder.existing_run)
        best = best_of(trials)
        folder.write_trials(trials, list(task.space.dimensions))
        if best is not None:
            assert task.dataset.val is not None
            recipe = recipe_with(task.recipe, best.values, origin=f"trial {best.number}")
            # Stopping early needs images to choose by, in the final training too; and nothing else may be there.
            needs_some = recipe.train.patience > 0 or not task.has_test
            is_kept_back = task.val_fraction is not None and needs_some
            if is_kept_back:
                recipe = recipe_with(task.tried, best.values, origin=f"trial {best.number}")
            text = best_recipe_text(
                recipe,
                best,
                path=folder.best_path,
                num_complete=sum(trial.state == "complete" for trial in trials),
                num_val=len(task.dataset.val),
                val_fraction=None if is_kept_back else task.val_fraction,
            )
            write_text(folder.best_path, text)
        folder.tidy(trials, best)
        return trials

    def _finish(self, stopped: str | None) -> StudyResult:
        task, folder = self.task, self.folder
        with folder.locked():
            trials = self.publish()
            best = best_of(trials)
            result = StudyResult(
                study=folder.path,
                trials=trials,
                num_trials=self.num_trials,
                best=best,
                best_recipe=folder.best_path if best is not None else None,
                importance=self.storage.importance(),
                val_fraction=task.val_fraction,
                pruner=self.pruner,
                seed=task.recipe.train.seed,
                device=str(task.choice.device),
                data=task.data,
                stopped=stopped,
            )
            folder.write_result(result.to_dict())
        if best is None and all(trial.is_over for trial in trials):
            raise _nothing_learnt(folder.path, trials)
        return result

    def _started(self, trials: tuple[TrialRecord, ...]) -> StudyStarted:
        task = self.task
        assert task.dataset.train is not None
        assert task.dataset.val is not None
        return StudyStarted(
            study=self.folder.path,
            num_settings=len(task.space.dimensions),
            num_trials=self.num_trials,
            num_over=sum(trial.is_over for trial in trials),
            best=best_of(trials),
            pruner=self.pruner,
            begins_with_recipe=self.begins_with_recipe,
            num_train=len(task.dataset.train),
            num_val=len(task.dataset.val),
            val_fraction=task.val_fraction,
            device=str(task.choice.device),
            reason=task.choice.reason,
            warnings=task.dataset.warnings,
        )


def _nothing_learnt(path: Path, trials: tuple[TrialRecord, ...]) -> ImgclsError:
    last = trials[-1]
    message = (
        f"none of {len(trials)} trials could be trained to its end; the last, trial {last.number}: "
        f"{last.state.replace('_', ' ')}, {last.reason}"
    )
    kinds: dict[str, type[ImgclsError]] = {"diverged": DataError, "refused": ConfigError}
    kind = kinds.get(last.state, DeviceError)
    return kind(
        message, hint=f"narrow the ranges in {path / 'space.toml'} in a new study; {path / 'trials.csv'} has all"
    )
