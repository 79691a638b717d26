"""`tune`: trials one after the other, until there are enough, and the best recipe as a file."""

import contextlib
import shlex
from pathlib import Path

from imgcls.errors import UsageError
from imgcls.host.data_files import read_text_file
from imgcls.recipes.loading import recipe_text
from imgcls.recipes.resolving import resolve_recipe
from imgcls.recipes.schema import Recipe
from imgcls.recipes.shipped import recipe_path
from imgcls.recipes.toml_text import to_toml
from imgcls.runs.events import ShouldStop
from imgcls.runs.new_folder import refuse_filled
from imgcls.training.early_stopping import or_after
from imgcls.training.setup.checks import check_recipe_fits
from imgcls.training.setup.inputs import DownloadProgress, Progress, with_whole_paths
from imgcls.tuning.folder import StudyFolder
from imgcls.tuning.results import OnStudyEvent, StudyResult
from imgcls.tuning.search import Search
from imgcls.tuning.space import plain_values
from imgcls.tuning.space_file import load_space
from imgcls.tuning.storage import StudyStorage
from imgcls.tuning.strategy import PrunerName, require_optuna
from imgcls.tuning.task import Task, stored_search
from imgcls.tuning.trial import OpenImages, Surroundings


def tune(
    recipe: Recipe | None = None,
    space: Path | str | None = None,
    *,
    output: Path | None = None,
    resume: Path | None = None,
    name: str = "",
    num_trials: int | None = None,
    pruner: PrunerName | None = None,
    device: str = "auto",
    workers: int | None = None,
    max_sec: float | None = None,
    on_event: OnStudyEvent = lambda event: None,
    should_stop: ShouldStop = lambda: None,
    progress: Progress | None = None,
    download_progress: DownloadProgress | None = None,
    weights_progress: DownloadProgress | None = None,
) -> StudyResult:
    """Search for the recipe that validates best, and leave a study's folder behind.

    Several processes may work on one study: each calls this with the same `resume`.

    Args:
        recipe: what every trial begins from, as `load_recipe(..., resolve=False)` has it; None takes that of the study
            to resume. Its seed is the search's too.
        space: a TOML file, see `load_space`, or the name of a shipped one; None likewise.
        output: the study's folder; None makes `studies/<name>-<date>-<time>`.
        resume: the folder of a study to go on with.
        name: of the recipe, for the folder; the model's by default.
        num_trials: in all, with those that a resumed study has; None for 20, or as many as were wanted before.
        pruner: `median`, `halving` or `none`; None for `median`, or the one from before.
        device: as for `train`.
        workers: likewise.
        max_sec: after this time the trial in hand is saved and the call ends, as if `should_stop` had said `max-time`.
        on_event: told of the study, of its trials, and of what `train` tells of each run.
        should_stop: asked after every step; a reason cuts the trial, to be gone on with when the study is resumed.
        progress: as for `train`.
        download_progress: likewise.
        weights_progress: likewise.
    Raises:
        UsageError: Optuna is missing, neither a space nor a study is given, or `resume` isn't a study's folder.
        ConfigError: the recipe or the space is wrong, or differs from that of the study to resume; or no trial at all
            could be built.
        DataError: the images can't be used, aren't those of the study, or every trial diverged.
        ModelError: unknown model.
        DeviceError: the device isn't there, or no trial fits into its memory.
        OutputError: the folder isn't empty, can't be written, or a process that hangs holds it.
    """
    if resume is not None and output is not None and output.resolve() != resume.resolve():
        raise UsageError(
            f"--output {output} and --resume {resume} contradict each other",
            hint=f"--resume {shlex.quote(str(resume))}",
        )
    if num_trials is not None and num_trials < 1:
        raise UsageError(f"{num_trials} trials are too few", hint="ask for one at least")
    require_optuna()
    space = recipe_path(space) if space is not None else None
    should_stop = or_after(should_stop, max_sec)
    if resume is not None:
        folder = StudyFolder.reopen(resume)
        recipe, searched = stored_search(folder, recipe, space)
    else:
        if recipe is None or space is None:
            raise UsageError("nothing to search: no space given", hint="--space space, or --resume STUDY")
        check_recipe_fits(resolve_recipe(recipe))
        searched = load_space(space, recipe)
        space_text = read_text_file(space)
        if output is not None:
            refuse_filled(output, besides=StudyFolder.leftovers(output, space_text))
    recipe = with_whole_paths(recipe)
    resolved = resolve_recipe(recipe)
    # Fails where a path can't be written down.
    recipe_text(resolved)
    task = Task.prepare(recipe, searched, OpenImages(workers, progress, download_progress), device)
    if resume is None:
        begins_with = to_toml(plain_values(task.recipe))
        folder = StudyFolder.create(output, name=name or resolved.model.name, space=space_text, recipe=begins_with)
        folder.begin(begins_with, space_text)

    with folder.locked():
        storage = StudyStorage(
            folder.storage_path, searched, seed=task.recipe.train.seed, epochs=task.recipe.train.epochs
        )
    with contextlib.closing(storage):
        study = Search(task, folder, storage)
        study.begin(num_trials, pruner)
        return study.run(
            Surroundings(
                task.tried,
                folder,
                task.images,
                str(task.choice.device),
                on_event=on_event,
                should_stop=should_stop,
                weights_progress=weights_progress,
            )
        )
