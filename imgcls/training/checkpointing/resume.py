"""What `last.pt` holds beyond a checkpoint, and whether a run may go on from it."""

import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.labelled_images import LabelledImages, digest_of
from imgcls.errors import ConfigError, DataError, ModelError
from imgcls.host.devices import is_out_of_memory
from imgcls.models.checkpoint import load_checkpoint
from imgcls.models.weights.initial_weights import Origin
from imgcls.recipes.loading import differing_keys
from imgcls.recipes.schema import Recipe
from imgcls.runs.result import Score
from imgcls.training.checkpointing.loop_state import checked_position, loop_state, restore_loop
from imgcls.training.loop import Loop

# The images themselves are compared, so that a data set may have moved; how often to save changes no weight.
MAY_DIFFER = ("data.source", "train.save_every_min")
KEYS_SHOWN = 3
# PyTorch lists every weight whose shape differs.
MAX_SAID = 300


@dataclass(frozen=True)
class Saved:
    """A run as its last.pt left it.

    Attributes:
        loop: what `restore_loop` takes.
        best, last: scores so far.
        data: description of the training images.
        origin: where its first weights came from; None for random ones.
        machine: what it was trained on, as `machine` has it.
        images: what `SeenImages.from_dict` takes; empty in files of earlier versions.
        content: `digest_of` the training images; empty in files of earlier versions.
        num_images: training images, without those that were left out; None in files that don't tell.
    """

    loop: dict[str, Any]
    best: Score | None
    last: Score | None
    data: dict[str, Any]
    origin: Origin | None
    machine: str
    num_images: int | None = None
    images: dict[str, torch.Tensor] = field(default_factory=dict)
    content: str = ""

    @property
    def kept_split(self) -> SeenImages | None:
        """The run's images, where it began with weights whose split it kept; else names and seed give the split."""
        seen = SeenImages.from_dict(self.images)
        return seen if seen is not None and len(seen.earlier) else None


def resume_state(loop: Loop, images: LabelledImages, *, best: Score | None, last: Score | None) -> dict[str, Any]:
    """The `resume` part of last.pt: tensors and plain values.

    Without an EMA the network's weights are the checkpoint's own, and are not stored twice.
    """
    state = loop_state(loop)
    if loop.ema is None:
        del state["network"]
    return {
        "loop": state,
        "best": best.to_dict() if best else None,
        "last": last.to_dict() if last else None,
        "data": images.description.to_dict(),
        "num_images": len(images),
        "content": digest_of(images),
        "machine": machine(loop.device),
    }


def load_saved(path: Path) -> Saved:
    """Read a last.pt.

    Raises:
        ModelError: it can't be read, or holds nothing to resume from.
    """
    checkpoint = load_checkpoint(path)
    state = checkpoint.resume
    try:
        origin = Origin(**checkpoint.start) if checkpoint.start else None
        state["loop"].setdefault("network", checkpoint.weights)
        best, last = (_score(state[key]) for key in ("best", "last"))
        checked_position(state["loop"]["position"])
        # The file is mapped into memory; a copy lets go of it, since the run is going to replace it.
        return Saved(
            loop=copied(state["loop"]),
            best=best,
            last=last,
            data=dict(state["data"]),
            origin=origin,
            machine=state.get("machine", ""),
            num_images=state.get("num_images"),
            images=copied(checkpoint.images),
            content=state.get("content", ""),
        )
    except (AttributeError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as exc:
        raise ModelError(f"{path} holds nothing to resume from", hint="resume from the last.pt of a run") from exc


def _score(values: dict[str, Any] | None) -> Score | None:
    if values is not None and not isinstance(values, dict):
        raise TypeError("a score is no table")
    score = Score(**values) if values else None
    if score is not None and not all(isinstance(value, float | int | None) for value in asdict(score).values()):
        raise TypeError("a score is no number")
    return score


def restore(loop: Loop, saved: Saved, path: Path) -> None:
    """Take up a run where its last.pt left it.

    Args:
        loop: with the same recipe and images.
        saved: content of the file.
        path: of the file, for messages.
    Raises:
        ModelError: somebody has put another run's state into it.
    """
    try:
        restore_loop(loop, saved.loop)
    except Exception as exc:
        # Values of strangers drive PyTorch into any error there is.
        if is_out_of_memory(exc):
            raise
        said = " ".join((str(exc) or type(exc).__name__).split())
        raise ModelError(
            f"{path} doesn't fit the run that it lies in: {said[:MAX_SAID]}",
            hint="put back the last.pt that this run wrote, or start a new run",
        ) from exc


def machine(device: torch.device) -> str:
    """All that the last bits of a step depend on, beside the recipe and the images."""
    where = f"{torch.get_num_threads()} CPU threads" if device.type == "cpu" else device.type
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    return f"{where}, torch {torch.__version__}"


def moved_warning(saved: Saved, device: torch.device) -> str | None:
    """What to tell about a run that goes on elsewhere than it was cut; None where its weights stay the same."""
    here = machine(device)
    if saved.machine in ("", here):
        return None
    return (
        f"the run was cut on {saved.machine}, and goes on with {here}: its weights will differ, in their last bits at "
        "first, from those of a run in one go"
    )


def copied(values: Any) -> Any:
    """The same tree of dictionaries and lists with tensors of its own."""
    if isinstance(values, torch.Tensor):
        return values.clone()
    if isinstance(values, dict):
        return {key: copied(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return type(values)(copied(value) for value in values)
    return values


def check_same_recipe(stored: Recipe, wanted: Recipe, run: Path, *, done_epochs: int = 0) -> None:
    """Refuse to go on with other settings than the run began with; a finished one may get more epochs at its last rate.

    Args:
        stored: recipe of the run.
        wanted: recipe to go on with.
        run: its folder.
        done_epochs: whole epochs done.
    Raises:
        ConfigError: names the first keys that differ.
    """
    differences = describe_differences(stored, wanted)
    more_epochs = _differing(stored, wanted) == ["train.epochs"]
    if more_epochs and done_epochs >= stored.train.epochs and keeps_its_rate(stored, wanted):
        return
    if differences and more_epochs and wanted.train.epochs > stored.train.epochs:
        shape = stored.schedule.shape
        raise ConfigError(
            f"the run in {run} has another recipe: {differences}; its schedule ({shape}) can't be made longer",
            hint=f"imgcls train -m {shlex.quote(str(run))} --data {shlex.quote(wanted.data.source)} --epochs "
            f"{wanted.train.epochs - stored.train.epochs} goes on from its weights, with its split, as a new run",
        )
    if differences:
        raise ConfigError(
            f"the run in {run} has another recipe: {differences}",
            hint=f"imgcls train --resume {shlex.quote(str(run))} goes on as it began; "
            "for other settings start a new run",
        )


def keeps_its_rate(stored: Recipe, wanted: Recipe) -> bool:
    """Whether a finished run may be made longer: the steps it made are those that the longer run would have ended with.

    Its learning rate was constant, warm-up over by both reckonings, and its images had one size.
    """
    longer = wanted.train.epochs > stored.train.epochs
    warm = stored.schedule.warmup * wanted.train.epochs <= stored.train.epochs
    return longer and warm and stored.schedule.shape == "constant" and not stored.train.resolution


def describe_differences(stored: Recipe, wanted: Recipe) -> str:
    """The first keys in which two resolved recipes differ beyond what may, with both values; empty for none."""
    old, new = stored.to_dict(), wanted.to_dict()
    keys = _differing(stored, wanted)
    shown = "; ".join(f"{key} was {value_at(old, key)!r}, now {value_at(new, key)!r}" for key in keys[:KEYS_SHOWN])
    return shown + (f"; and {len(keys) - KEYS_SHOWN} more" if len(keys) > KEYS_SHOWN else "")


def _differing(stored: Recipe, wanted: Recipe) -> list[str]:
    keys = differing_keys(stored.to_dict(), wanted.to_dict())
    return [key for key in keys if key not in MAY_DIFFER]


def check_same_data(saved: Saved, images: LabelledImages, run: Path) -> None:
    """Refuse to go on with other images than the run began with; times of files don't matter where they are the same.

    Raises:
        DataError: another fingerprint.
    """
    before, now = saved.data.get("fingerprint"), images.description.fingerprint
    if before != now and not (saved.content and saved.content == digest_of(images)):
        raise DataError(
            f"the training images are not those that the run in {run} began with: "
            f"fingerprint {str(before)[:12]} then, {now[:12]} now",
            hint="restore the data, or start a new run",
        )
    if saved.num_images not in (None, len(images)):
        raise DataError(
            f"the run in {run} began with {saved.num_images:,} training images, and now there are {len(images):,} of "
            "the same: damaged ones are left out where all fit into memory, and met on the way where they don't",
            hint="go on with as much memory as it began with, or start a new run",
        )


def value_at(values: dict[str, Any], dotted: str) -> Any:
    """The value of a dotted key; None where it is missing."""
    found: Any = values
    for part in dotted.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
