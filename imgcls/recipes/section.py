"""What all sections of a recipe have in common, and the types of their values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

# TOML has arrays, not tuples; without this, strict validation would refuse them.
Byte = Annotated[int, Field(ge=0, le=255)]
RGB = Annotated[tuple[float, float, float], Strict(False)]
Colour = Annotated[tuple[Byte, Byte, Byte], Strict(False)]
Stage = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], Annotated[int, Field(ge=8)]], Strict(False)]
Fractions = Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Strict(False)]
Stages = Annotated[tuple[Stage, ...], Strict(False)]


class Section(BaseModel):
    """A table of the recipe: unknown keys are errors, `true` is no number, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
