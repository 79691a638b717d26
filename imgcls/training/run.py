"""`train`: from a recipe to a finished run, or on with one that was cut."""

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.opening import Dataset
from imgcls.datasets.per_process import check_same_images, memory_for_each_mib, workers_for_each
from imgcls.datasets.resolving import find_source
from imgcls.distributed.process_group import Processes, choose_device_of
from imgcls.errors import UsageError
from imgcls.host.devices import DeviceChoice
from imgcls.models.weights.initial_weights import Start
from imgcls.recipes.loading import load_recipe, recipe_text
from imgcls.recipes.resolving import resolve_recipe
from imgcls.recipes.schema import Recipe
from imgcls.runs.events import OnEvent, ShouldStop
from imgcls.runs.folder import RunFolder, find_launched
from imgcls.runs.new_folder import refuse_filled
from imgcls.runs.notebook import notebook_progress
from imgcls.runs.result import TrainResult
from imgcls.training.checkpointing.resume import Saved, check_same_recipe, load_saved
from imgcls.training.early_stopping import or_after
from imgcls.training.precision import deterministic_algorithms
from imgcls.training.session import Session
from imgcls.training.setup.checks import check_data_fits, check_device_fits, check_recipe_fits
from imgcls.training.setup.inputs import (
    DownloadProgress,
    Progress,
    open_data,
    open_start,
    with_source,
    with_whole_source,
)
from imgcls.training.step import explained_out_of_memory


def train(
    recipe: Recipe | None = None,
    *,
    output: Path | None = None,
    resume: Path | None = None,
    name: str = "",
    device: str = "auto",
    workers: int | None = None,
    on_event: OnEvent | None = None,
    should_stop: ShouldStop = lambda: None,
    max_sec: float | None = None,
    progress: Progress | None = None,
    download_progress: DownloadProgress | None = None,
    weights_progress: DownloadProgress | None = None,
    dataset: Dataset | None = None,
    processes: Processes | None = None,
) -> TrainResult:
    """Train a network as a recipe says, and leave a run's folder behind.

    Args:
        recipe: None takes the one that `resume` began with.
        output: the run's folder; None makes `runs/<name>-<date>-<time>`.
        resume: the folder of a run to go on with; ends with the same weights as if it had never been cut.
        name: of the recipe, for the folder; the model's by default.
        device: as `choose_device` takes it.
        workers: threads or processes that decode; None for one a core.
        on_event: told of the start, of progress and of every epoch's end. None shows them where this runs in a
            notebook, and nothing elsewhere.
        should_stop: asked after every step; a reason makes the run save its state and end.
        max_sec: seconds after which the run saves its state and ends, counted from this call; a resumed run has them
            anew. At least one step is made.
        progress: called with images decoded and in all, while the data set is opened.
        download_progress: called with bytes so far and in all, while a data set is downloaded.
        weights_progress: the same while published weights to begin with are downloaded.
        dataset: as `open_data` opened it for a recipe with the same [data] and seed; None opens it here.
        processes: as `joined` gives them: all call this, the first one's recipe and folder count, and only that one
            writes. After a restart by torchrun the run goes on where it was. None for this process alone.
    Raises:
        UsageError: no data set named, `output` together with `resume`, or `resume` isn't a run's folder.
        ConfigError: the recipe doesn't fit the model, or differs from that of the run to resume.
        DataError: the data can't be used or aren't those of the run to resume, or the loss diverged.
        ModelError: unknown model, weights to begin with that are missing or don't fit, or a damaged last.pt.
        DeviceError: the device isn't there, is slower in the precision asked for, can't be compiled for, or has too
            little memory (`OutOfMemoryError`).
        OutputError: the folder isn't empty, can't be written, or another process holds it.
        ProcessLostError: another process of the run is gone.
    """
    processes = processes or Processes()
    if resume is not None and output is not None and output.resolve() != resume.resolve():
        raise UsageError(
            f"--output {output} and --resume {resume} contradict each other",
            hint=f"--resume {shlex.quote(str(resume))}",
        )
    if resume is None and recipe is None:
        raise UsageError("nothing to train: neither a recipe nor a run to resume", hint="imgcls train --data DIR")
    should_stop = or_after(should_stop, max_sec)
    on_event = on_event or notebook_progress() or (lambda _event: None)
    given = recipe
    recipe = processes.from_first(lambda: resolve_recipe(given) if given is not None else None)
    # Each in its own working folder: another machine may have the same data elsewhere.
    recipe = with_whole_source(recipe) if recipe is not None else None
    choice = choose_device_of(device, processes.launch)
    if resume is None and recipe is not None and processes.launch is not None and processes.launch.restarts:
        launch, base = processes.launch.name, name or recipe.model.name
        resume = processes.from_first(lambda: find_launched(output, name=base, launch=launch))

    def images(recipe: Recipe, seen: SeenImages | None) -> Dataset:
        if dataset is not None:
            return dataset
        memory_mib = memory_for_each_mib(processes)
        with processes.first_of_each_machine_first():
            found = open_data(
                recipe,
                seen=seen,
                workers=workers_for_each(workers, processes),
                max_memory_mib=memory_mib,
                progress=progress,
                download_progress=download_progress,
            )
        check_same_images(found.splits, found.classes, processes)
        return found

    def weights(recipe: Recipe) -> Start | None:
        with processes.first_of_each_machine_first():
            return open_start(recipe, progress=weights_progress)

    if resume is None:
        assert recipe is not None
        check_recipe_fits(recipe)
        check_device_fits(recipe, choice.device, num_processes=processes.count)
        if output is not None and processes.is_first:
            refuse_filled(output, besides=RunFolder.leftovers(output, recipe_text(recipe)))
        start = weights(recipe)
        opened = images(recipe, SeenImages.from_dict(start.images) if start is not None else None)
        check_data_fits(recipe, opened)
        base = name or recipe.model.name
        config = recipe_text(recipe)
        with _held_by_first(lambda: RunFolder.create(output, name=base, config=config), processes) as folder:
            if processes.launch is not None:
                folder.write_launch(processes.launch.name)
            folder.write_config(config)
            return _run(recipe, opened, folder, choice, start, None, processes, on_event, should_stop)
    cut = resume
    with _held_by_first(lambda: RunFolder.reopen(cut), processes) as folder:
        stored = processes.from_first(lambda: load_recipe(folder.path / "config.toml"))
        # The images may have moved; where they are now is said by whoever resumes, or found near the run.
        recipe = recipe or stored
        recipe = with_source(recipe, find_source(recipe.data.source, near=folder.path / "config.toml"))
        # A run that was killed before it saved anything just begins again.
        saved = processes.from_first(lambda: load_saved(folder.last_path) if folder.last_path.exists() else None)
        done = int(saved.loop["position"]["epoch"]) if saved is not None else 0
        check_same_recipe(stored, recipe, folder.path, done_epochs=done)
        if recipe.train.epochs != stored.train.epochs:
            folder.write_config(recipe_text(recipe))
        check_device_fits(recipe, choice.device, num_processes=processes.count)
        start = weights(recipe) if saved is None else None
        seen = SeenImages.from_dict(start.images) if start is not None else saved.kept_split if saved else None
        return _run(recipe, images(recipe, seen), folder, choice, start, saved, processes, on_event, should_stop)


def _run(
    recipe: Recipe,
    dataset: Dataset,
    folder: RunFolder,
    choice: DeviceChoice,
    start: Start | None,
    saved: Saved | None,
    processes: Processes,
    on_event: OnEvent,
    should_stop: ShouldStop,
) -> TrainResult:
    exact = deterministic_algorithms(choice.device) if recipe.train.deterministic else contextlib.nullcontext()
    with explained_out_of_memory(recipe, choice.device), exact:
        session = Session(recipe, dataset, folder, choice, start=start, processes=processes)
        if saved is not None:
            session.take_up(saved)
        folder.drop_result()
        folder.drop_metrics_after(session.loop.position.epoch)
        return session.run(on_event, should_stop)


@contextlib.contextmanager
def _held_by_first(open_folder: Callable[[], RunFolder], processes: Processes) -> Iterator[RunFolder]:
    """The folder that the first process opens, in all of them; the others can't write to it."""
    held = open_folder() if processes.is_first else None
    path = processes.from_first(lambda: held.path if held else Path())
    with held or RunFolder(path, writes=False) as folder:
        yield folder
