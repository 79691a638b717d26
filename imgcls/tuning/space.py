"""The search space: which settings of a recipe are searched, and where.

A space is TOML that looks like a recipe. Where that has a value, it has a list of choices, or a range with two ends.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgcls.recipes.loading import Collected, check_recipe
from imgcls.recipes.resolving import resolve_recipe
from imgcls.recipes.schema import Recipe
from imgcls.training.checkpointing.resume import value_at


@dataclass(frozen=True, slots=True)
class FloatRange:
    """Numbers in [low, high]; in steps from `low` if there is one, evenly by logarithm if `log`."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a recipe's value lies in the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        if self.step is None:
            return True
        steps = (value - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-8)


@dataclass(frozen=True, slots=True)
class IntRange:
    """Whole numbers in [low, high], `step` apart; evenly by logarithm if `log`."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a recipe's value lies in the range."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return is_whole and self.low <= value <= self.high and (value - self.low) % self.step == 0


@dataclass(frozen=True, slots=True)
class Choices:
    """One of some values of any kind that TOML has."""

    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Whether a recipe's value is among the choices."""
        return label_of(value) in self.labels

    @property
    def labels(self) -> tuple[str, ...]:
        """A text for each choice, all different."""
        return tuple(label_of(value) for value in self.values)

    def value_of(self, label: str) -> Any:
        """The choice behind a label."""
        return self.values[self.labels.index(label)]


Dimension = FloatRange | IntRange | Choices


@dataclass(frozen=True)
class SearchSpace:
    """What is searched.

    Attributes:
        dimensions: by the recipe's dotted key, in the file's order.
    """

    dimensions: dict[str, Dimension]

    @property
    def num_combinations(self) -> int | None:
        """How many different trials there can be; None without bound."""
        total = 1
        for dimension in self.dimensions.values():
            if isinstance(dimension, Choices):
                total *= len(dimension.values)
            elif dimension.step is None:
                return None
            else:
                total *= round((dimension.high - dimension.low) / dimension.step) + 1
        return total

    def values_in(self, recipe: Recipe) -> dict[str, Any] | None:
        """The values that a recipe has for the searched keys, given or following; None where one isn't in the space."""
        given, followed = plain_values(recipe), resolve_recipe(recipe).to_dict()
        values = {
            key: value_at(followed, key) if value_at(given, key) is None else value_at(given, key)
            for key in self.dimensions
        }
        return values if all(dim.holds(values[key]) for key, dim in self.dimensions.items()) else None

    def differing(self, other: "SearchSpace") -> list[str]:
        """Keys that are searched elsewhere, or not at all, in the other space."""
        keys = dict.fromkeys([*self.dimensions, *other.dimensions])
        return [key for key in keys if self.dimensions.get(key) != other.dimensions.get(key)]


def label_of(value: Any) -> str:
    """A short text for a setting's value."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def plain_values(recipe: Recipe) -> dict[str, Any]:
    """What a recipe that isn't resolved holds, to be read again as that recipe."""
    values = recipe.to_dict()
    # Whether a network was named decides what weights may be begun with.
    if "name" not in recipe.model.model_fields_set:
        del values["model"]["name"]
    return values


def recipe_with(recipe: Recipe, values: Mapping[str, Any], *, origin: str, resolve: bool = True) -> Recipe:
    """A recipe with other values for some keys.

    Args:
        recipe: not resolved, so that what follows from a value follows from the new one.
        values: by dotted key.
        origin: where they come from, for errors.
        resolve: fill in what follows.
    Raises:
        ConfigError: unknown key, value out of range.
        ModelError: weights to begin with that aren't there.
    """
    collected = Collected(plain_values(recipe))
    for key, value in values.items():
        collected.put(key, value, origin)
    return check_recipe(collected.values, collected, resolve=resolve)
