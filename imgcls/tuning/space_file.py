"""Reading a search space from a file, and trying the ends of every range in the recipe.

A space is TOML that looks like a recipe. Where that has a value, it has a list of choices, or a range with two ends.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imgcls.errors import ConfigError
from imgcls.recipes.loading import read_toml
from imgcls.recipes.resolving import resolve_recipe
from imgcls.recipes.schema import Recipe
from imgcls.recipes.wording import known_keys
from imgcls.training.checkpointing.resume import value_at
from imgcls.training.setup.checks import check_recipe_fits
from imgcls.tuning.space import Choices, Dimension, FloatRange, IntRange, SearchSpace, label_of, recipe_with

RANGE_KEYS = ("low", "high", "step", "log")
# No setting of a recipe is larger.
LARGEST = 1e30
HINT = 'a range is {low = 1e-4, high = 0.1, log = true}, choices are ["sgd", "adamw"]; see: imgcls recipes space'
# Settings that would make trials incomparable, and why.
NOT_SEARCHED = {
    "data.source": "every trial has to be measured on the same images",
    "data.val_fraction": "every trial has to be measured on the same images",
    "data.allow_modified": "every trial has to be measured on the same images",
    "data.split_seed": "every trial has to be measured on the same images",
    "data.group_column": "every trial has to be measured on the same images",
    "data.fixes": "every trial has to be measured on the same images",
    "data.folds": "every trial has to be measured on the same images",
    "data.fold": "every trial has to be measured on the same images",
    "data.strict": "every trial has to be measured on the same images",
    "train.seed": "the search would only find the luckiest draw",
}


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
        if type(number) not in (int, float) or not abs(number) < LARGEST:
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
