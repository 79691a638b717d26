"""The search space: which settings of a recipe are searched, and where.

A space is TOML that looks like a recipe. Where that has a value, it has a list of choices, or a range with two ends.
"""

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgcls.errors import ConfigError
from imgcls.recipes.loading import Collected, check_recipe, read_toml
from imgcls.recipes.resolving import resolve_recipe
from imgcls.recipes.schema import Recipe
from imgcls.recipes.wording import known_keys
from imgcls.training.checkpointing.resume import value_at
from imgcls.training.setup.checks import check_recipe_fits

RANGE_KEYS = ("low", "high", "step", "log")
HINT = 'a range is {low = 1e-4, high = 0.1, log = true}, choices are ["sgd", "adamw"]; see: imgcls recipes space'
# Settings that would make trials incomparable, and why.
NOT_SEARCHED = {
    "data.source": "every trial has to be measured on the same images",
    "data.val_fraction": "every trial has to be measured on the same images",
    "data.allow_modified": "every trial has to be measured on the same images",
    "data.strict": "every trial has to be measured on the same images",
    "train.seed": "the search would only find the luckiest draw",
}


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


def load_space(path: Path, recipe: Recipe) -> SearchSpace:
    """Read a search space and try the ends of every range in the recipe.

    Args:
        path: a TOML file.
        recipe: not resolved.
    Raises:
        ConfigError: unreadable, unknown key, an end that the recipe can't take, a range that makes no sense.
        ModelError: an end that the network can't be built with.
    """
    dimensions: dict[str, Dimension] = {}
    for key, written in _leaves(read_toml(path), path):
        if key in NOT_SEARCHED:
            raise ConfigError(f"{key} in {path} can't be searched: {NOT_SEARCHED[key]}", hint="set it in the recipe")
        if isinstance(written, list):
            dimensions[key] = _choices(key, written, recipe, path)
        else:
            dimensions[key] = _range(key, written, recipe, path)
    if not dimensions:
        raise ConfigError(f"{path} has nothing to search", hint=HINT)
    return SearchSpace(dimensions)


def _leaves(table: Mapping[str, Any], path: Path, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys with their lists and ranges."""
    for name, written in table.items():
        key = f"{prefix}{name}"
        if not isinstance(written, (dict, list)):
            raise ConfigError(f"{key} = {label_of(written)} in {path} is one value, not several", hint=HINT)
        is_range = isinstance(written, dict) and (not written.keys().isdisjoint(RANGE_KEYS) or _is_setting(key))
        if isinstance(written, list) or is_range:
            yield key, written
        else:
            yield from _leaves(written, path, f"{key}.")


def _is_setting(key: str) -> bool:
    # [model.arguments] is the one table among the settings.
    return key in known_keys() and key != "model.arguments"


def _choices(key: str, written: list[Any], recipe: Recipe, path: Path) -> Choices:
    choices = Choices(tuple(_taken(key, value, recipe, path) for value in written))
    if len(written) < 2:
        raise ConfigError(f"{key} = {label_of(written)} in {path} leaves no choice", hint="set it in the recipe")
    for label in choices.labels:
        if choices.labels.count(label) > 1:
            raise ConfigError(f"{key} in {path} has {label} twice", hint="name each choice once")
    return choices


def _range(key: str, written: dict[str, Any], recipe: Recipe, path: Path) -> FloatRange | IntRange:
    where = f"{key} in {path}"
    for name in written:
        if name not in RANGE_KEYS:
            near = difflib.get_close_matches(name, RANGE_KEYS, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"unknown word {name!r} in the range of {where}{meant}", hint=HINT)
    missing = [name for name in ("low", "high") if name not in written]
    if missing:
        raise ConfigError(f"the range of {where} lacks {' and '.join(missing)}", hint=HINT)
    log = written.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"log = {label_of(log)} in the range of {where} must be true or false", hint=HINT)
    numbers = [written[name] for name in ("low", "high", "step") if name in written]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise ConfigError(f"{label_of(number)} in the range of {where} must be a number", hint=HINT)
    low, high, step = (*numbers, None)[:3]
    if low >= high:
        raise ConfigError(f"the range of {where} goes from {low} to {high}: low must be less than high", hint=HINT)
    if log and low <= 0:
        raise ConfigError(f"low = {low} in the range of {where} must be more than 0 with log = true", hint=HINT)
    if log and step is not None:
        raise ConfigError(f"the range of {where} has both log and step", hint="leave one of them out")
    if step is not None and not 0 < step <= high - low:
        raise ConfigError(f"step = {step} in the range of {where} must be more than 0, at most high - low", hint=HINT)
    if step is not None and not FloatRange(low, high, step).holds(high):
        raise ConfigError(
            f"the range of {where} isn't a whole number of steps: {low}, {low + step:g}, ... never meet {high}",
            hint="change high or step",
        )
    # A setting that takes fractions is searched among them, also where its range is written in whole numbers.
    ends = [_taken(key, value, recipe, path) for value in (low, high, low + (step or 0))]
    if all(isinstance(value, int) for value in (*numbers, *ends)):
        return IntRange(low, high, step or 1, log)
    return FloatRange(float(low), float(high), float(step) if step is not None else None, log)


def _taken(key: str, value: Any, recipe: Recipe, path: Path) -> Any:
    """A value as the recipe holds it, once it has been found to be one that the recipe can take."""
    tried = recipe_with(recipe, {key: value}, origin=str(path), resolve=False)
    resolved = resolve_recipe(tried)
    # The network knows best what its arguments may be.
    if key.startswith("model."):
        check_recipe_fits(resolved)
    in_the_end = value_at(resolved.to_dict(), key)
    if key.startswith("model.arguments.") and in_the_end != value:
        raise ConfigError(
            f"{key} in {path} can't be searched: it follows from other settings, {label_of(in_the_end)} from theirs",
            hint="search the settings that it follows from",
        )
    return value_at(tried.to_dict(), key)
