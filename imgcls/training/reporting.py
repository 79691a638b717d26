"""What a session says of itself: at its start, at its end, and when a process is lost."""

from typing import Any

import torch

from imgcls.datasets.labelled_images import SkippedImage, is_multi_label
from imgcls.errors import ProcessLostError
from imgcls.host.terminal_text import counted
from imgcls.models.families.bundled import OWN
from imgcls.runs.events import Started
from imgcls.runs.pace import stages_of
from imgcls.runs.result import TrainResult
from imgcls.training.fine_tuning.phases import changing_settings
from imgcls.training.loss import uneven_warning
from imgcls.training.session_state import SessionState

# Networks of torchvision's, trained from nothing on fewer images, stay behind the same ones pretrained.
FEW_IMAGES = 10_000
# In fewer no learning rate that is safe gets anywhere.
FEW_STEPS = 5


def lost_process(session: SessionState, exc: ProcessLostError) -> ProcessLostError:
    kept = f"what was saved is in {session.folder.path}"
    if session.checkpointing.position is not None:
        epoch, batch = session.checkpointing.position
        within = f", step {batch} of the next" if batch else ""
        kept = f"{session.folder.last_path} holds it up to epoch {epoch}{within}"
    elif session.folder.writes:
        kept = "nothing was saved yet"
    launch = session.processes.launch
    if launch is not None and launch.restarts < launch.max_restarts:
        hint = "torchrun starts them again, and the run goes on"
    else:
        hint = (
            f"torchrun ... -m imgcls train --resume {session.folder.path} goes on; "
            "with --max-restarts 3 torchrun does so by itself"
        )
    return ProcessLostError(f"{exc.message}; {kept}", hint=hint)


def skipped_images(session: SessionState) -> tuple[SkippedImage, ...]:
    found = list(session.images.skipped)
    if session.dataset.val is not None:
        found += session.dataset.val.skipped
    # Each process has met its own, or all of them have met all.
    return tuple({bad.path: bad for part in session.processes.gather(found) for bad in part}.values())


def describe_start(session: SessionState) -> Started:
    position, validation, test = session.loop.position, session.dataset.validation, session.dataset.test
    return Started(
        run=session.folder.path,
        model=session.recipe.model.name,
        origin=session.origin,
        num_parameters=session.loop.phase_setup.num_parameters,
        frozen_epochs=sum(phase.epochs for phase in session.loop.phase_setup.phases if phase.frozen),
        changing=tuple(changing_settings(session.recipe)),
        num_classes=len(session.dataset.classes),
        num_train=len(session.images),
        num_val=len(validation) if validation is not None else 0,
        num_test=len(test) if test is not None else 0,
        validates_on=validation.description.split if validation is not None else None,
        epochs=session.recipe.train.epochs,
        steps_per_epoch=session.loop.steps_per_epoch,
        stages=stages_of(session.recipe, total_steps=session.loop.total_steps),
        done_epochs=position.epoch,
        done_steps=position.batch,
        device=str(session.device),
        reason=session.choice.reason,
        num_processes=session.processes.count,
        precision=session.precision.name,
        skipped=skipped_images(session),
        warnings=_warnings(session),
        remarks=session.start.remarks if session.start is not None else (),
        is_multi_label=is_multi_label(session.images),
    )


def _warnings(session: SessionState) -> tuple[str, ...]:
    uneven = uneven_warning(session.images.labels_N, session.images.classes)
    weighted = session.recipe.optim.class_weights != "off"
    said = (
        _few_steps(session),
        _late_best(session),
        None if weighted else uneven,
        _too_few(session),
        *_trained_on(session),
        session.moved,
    )
    return (*session.dataset.warnings, *(text for text in said if text is not None))


def _too_few(session: SessionState) -> str | None:
    name, count = session.recipe.model.name, len(session.images)
    if session.origin is not None or name in OWN or count >= FEW_IMAGES:
        return None
    few = f"{name} begins with random weights, for which {count:,} images are few"
    return f"{few}: --pretrained begins with those of ImageNet"


def _few_steps(session: SessionState) -> str | None:
    steps = session.loop.total_steps
    if steps >= FEW_STEPS:
        return None
    return (
        f"{counted(steps, 'step')} in all {'is' if steps == 1 else 'are'} too few to learn much: raise --epochs, "
        f"or lower --batch-size, which is {session.recipe.train.batch_size}"
    )


def _late_best(session: SessionState) -> str | None:
    """Early stopping beside a schedule that gets to its best at the end."""
    patience, shape = session.recipe.train.patience, session.recipe.schedule.shape
    if not patience or shape in ("constant", "step"):
        return None
    return (
        f"train.patience = {patience} may end the run too early: with schedule.shape = {shape!r} the last epochs are "
        "the best; --set schedule.shape=constant goes with it"
    )


def _trained_on(session: SessionState) -> list[str]:
    """What there is to say of validation and test images that the network trains on, or was trained on."""
    start = session.start
    if not session.folder.writes:
        return []
    found = []
    for split, what in (("val", "validation"), ("test", "test")):
        images = session.dataset.splits.get(split)
        if images is None:
            continue
        prints_N = images.fingerprints()
        if count := session.seen.count_trained(prints_N):
            here = int(torch.isin(prints_N, session.seen.train).sum())
            why = "are among the training images too" if here == count else "are among those behind its first weights"
            found.append(
                f"{count:,} of the {len(images):,} {what} images {why}: the figures say little about new images"
            )
    if start is not None and start.classes and not start.images and start.weights not in OWN:
        found.append(
            f"{start.weights} doesn't say which images it was trained on, as an earlier version wrote it: some that "
            "validate here may be among them"
        )
    return found


def describe_result(session: SessionState, stopped: str | None, test: dict[str, Any] | None) -> TrainResult:
    position = session.loop.position
    return TrainResult(
        run=session.folder.path,
        best=session.best,
        last=session.last,
        epochs=position.epoch,
        train_sec=position.train_sec,
        images_per_sec=position.images / position.train_sec if position.train_sec else 0.0,
        skipped=skipped_images(session),
        device=str(session.device),
        num_processes=session.processes.count,
        seed=session.recipe.train.seed,
        precision=session.precision.name,
        data=session.images.description.to_dict(),
        start=session.origin.to_dict() if session.origin else None,
        stopped=stopped,
        test=test,
    )
