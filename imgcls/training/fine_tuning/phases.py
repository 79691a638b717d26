"""The stretches of a run: with the backbone frozen, then with all weights in motion, or but one of the two."""

from dataclasses import dataclass

from imgcls.recipes.optimization import AugmentSettings
from imgcls.recipes.schema import Recipe

# Flipping has two outcomes, both of which can be kept; the others change nothing alone.
HARMLESS = ("flip", "padding", "policy_ops", "policy_magnitude")


@dataclass(frozen=True, slots=True)
class Phase:
    """Epochs in which the same weights move, under a learning-rate schedule of their own.

    Attributes:
        frozen: whether the head alone is trained, with all before it in eval mode.
        first_epoch: counted from 0.
        epochs: how many.
    """

    frozen: bool
    first_epoch: int
    epochs: int


def phases_of(recipe: Recipe) -> tuple[Phase, ...]:
    """The phases of a run, in order."""
    epochs, finetune = recipe.train.epochs, recipe.finetune
    if finetune.freeze:
        return (Phase(True, 0, epochs),)
    head = min(finetune.head_epochs, epochs)
    phases = (Phase(True, 0, head), Phase(False, head, epochs - head))
    return tuple(phase for phase in phases if phase.epochs)


def phase_at(phases: tuple[Phase, ...], epoch: int) -> int:
    """The number of the phase that an epoch belongs to; of the last one for the run's end."""
    begun = [number for number, phase in enumerate(phases) if phase.first_epoch <= epoch]
    return begun[-1]


def changing_settings(recipe: Recipe) -> list[str]:
    """The settings by which a frozen backbone sees other pixels in every epoch, flipping apart, which knows but two.

    Without them, what a frozen backbone makes of an image is the same in every epoch, and can be kept.
    """
    if not recipe.finetune.head_augment:
        return []
    neutral = AugmentSettings()
    found = [
        f"augment.{key}"
        for key in AugmentSettings.model_fields
        if key not in HARMLESS and getattr(recipe.augment, key) != getattr(neutral, key)
    ]
    return found + (["train.resolution"] if recipe.train.resolution else [])
