"""The recipe of a training run: every setting with its meaning, its range and its default.

A recipe is TOML, one table a section. What is left out takes the default that stands here; `None` means that the value
follows from the data and the model (`resolve_recipe`), so that a saved recipe holds numbers only.
"""

from typing import Any

from imgcls.images.transform import Transform
from imgcls.images.transform_values import parse_colour
from imgcls.recipes.model_and_data import DataSettings, ModelSettings
from imgcls.recipes.optimization import (
    AugmentSettings,
    FinetuneSettings,
    OptimSettings,
    ScheduleSettings,
    TrainSettings,
)
from imgcls.recipes.section import Section


class Recipe(Section):
    """A whole recipe."""

    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    optim: OptimSettings = OptimSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    augment: AugmentSettings = AugmentSettings()
    train: TrainSettings = TrainSettings()

    def to_dict(self) -> dict[str, Any]:
        """Plain values as TOML has them: lists for tuples, nothing for `None`."""
        return self.model_dump(mode="json", exclude_none=True)


SECTIONS: dict[str, type[Section]] = {
    "model": ModelSettings,
    "data": DataSettings,
    "optim": OptimSettings,
    "finetune": FinetuneSettings,
    "schedule": ScheduleSettings,
    "augment": AugmentSettings,
    "train": TrainSettings,
}


def transform_of(recipe: Recipe) -> Transform:
    """The one preprocessing of a resolved recipe."""
    data = recipe.data
    if not (data.resize_px and data.image_px and data.mean and data.std and data.interpolation):
        raise ValueError("the recipe is not resolved")
    return Transform(
        resize_px=data.resize_px,
        crop_px=data.image_px,
        crop_width_px=data.image_width_px,
        mean=data.mean,
        std=data.std,
        interpolation=data.interpolation,
        resize=data.resize or "crop",
        pad_rgb=data.pad_rgb or (0, 0, 0),
        background_rgb=parse_colour(data.background) if data.background else None,
        depth_bits=data.depth_bits,
        accepts_truncated=data.truncated == "accept",
    )
