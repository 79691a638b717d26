"""From a file, `--set` and flags to a checked recipe, or to an error that names the key.

Later sources win: defaults < file < `--set section.key=value` < flags.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from imgcls.errors import ConfigError
from imgcls.recipes.resolving import resolve_recipe
from imgcls.recipes.schema import SECTIONS, Recipe
from imgcls.recipes.shipped import recipe_path
from imgcls.recipes.toml_text import to_toml

RANGE_WORDS = {
    "gt": "more than",
    "ge": "at least",
    "lt": "less than",
    "le": "at most",
    "min_length": "of length at least",
}

# What pydantic calls a value of the right kind that is too small or too large.
OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "string_too_short")


@dataclass
class Collected:
    """Values so far, and which source set each dotted key."""

    values: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)

    def put(self, dotted: str, value: Any, origin: str) -> None:
        *tables, key = dotted.split(".")
        table = self.values
        for name in tables:
            if not isinstance(table.setdefault(name, {}), dict):
                raise ConfigError(f"{name} in {dotted!r} from {origin} is a value, not a table", hint=_hint())
            table = table[name]
        table[key] = value
        self.origin[dotted] = origin

    def origin_of(self, dotted: str) -> str:
        parts = dotted.split(".")
        known = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
        # An unknown section was never put itself, only a key in it.
        known += [key for key in self.origin if key.startswith(f"{dotted}.")]
        return next((self.origin[key] for key in known if key in self.origin), "the recipe")


def load_recipe(
    path: Path | str | None = None,
    *,
    assignments: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    resolve: bool = True,
) -> Recipe:
    """Read, merge and check all sources.

    Args:
        path: a TOML file, the name of a shipped recipe (see `imgcls.recipes.shipped`), or None for the defaults.
        assignments: `section.key=value`, the value in TOML's notation; anything else is taken as a string.
        flags: values by dotted key, None for a flag that wasn't given. `model.name` replaces the whole table [model]
            but for `pretrained`: another network doesn't take the arguments of the file's, nor its weights.
        resolve: fill in what follows from the data and the model; else it stays None, to follow from later changes.
    Raises:
        ConfigError: unreadable file, TOML syntax, unknown key, value out of range.
    """
    collected = Collected()
    if path is not None:
        for name, table in read_toml(recipe_path(path)).items():
            collected.put(name, table, str(path))
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    if "model.name" in given:
        # Whether published weights are wanted is asked of any network; which of them, of one alone.
        wanted = bool(table.get("pretrained")) if isinstance(table := collected.values.get("model"), dict) else False
        collected.values["model"] = {"pretrained": True} if wanted else {}
    for assignment in assignments:
        key, value = parse_assignment(assignment)
        collected.put(key, value, f"--set {assignment}")
    for key, value in given.items():
        collected.put(key, value, "the command line")
    return check_recipe(collected.values, collected, resolve=resolve)


def check_recipe(values: Mapping[str, Any], collected: Collected | None = None, *, resolve: bool = True) -> Recipe:
    """A recipe from plain values; see `load_recipe`.

    Raises:
        ConfigError: unknown key, value out of range.
    """
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as exc:
        raise _config_error(exc.errors()[0], collected or Collected()) from exc
    return resolve_recipe(recipe) if resolve else recipe


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: missing, unreadable, or not TOML; names the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}", hint="mend that line") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(
            f"{path} is not UTF-8 text: {exc.reason} at byte {exc.start}", hint="save it as UTF-8"
        ) from exc
    except OSError as exc:
        raise ConfigError(
            f"can't read the recipe {path}: {exc.strerror or exc}",
            hint="name a TOML file, or one of 'imgcls recipes'",
        ) from exc


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split `section.key=value`.

    Raises:
        ConfigError: no `=` or no section.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or "." not in key or not all(key.split(".")):
        raise ConfigError(f"--set takes section.key=value, not {text!r}", hint="for example: --set optim.lr=0.05")
    try:
        # A line break would smuggle in a second key.
        parsed = tomllib.loads(f"value = {value.strip()}") if "\n" not in value else {"value": value}
    except tomllib.TOMLDecodeError:
        return key, value.strip()
    return key, parsed["value"]


def recipe_text(recipe: Recipe, *, explained: bool = False) -> str:
    """The recipe as TOML, with each key's meaning behind it if asked.

    Raises:
        ConfigError: a string that TOML can't hold, such as a path that isn't UTF-8.
    """
    comments = {
        f"{name}.{key}": f"{about.description} {_range(about)}".rstrip()
        for name, model in SECTIONS.items()
        for key, about in model.model_fields.items()
    }
    try:
        return to_toml(recipe.to_dict(), comments=comments if explained else None)
    except ValueError as exc:
        raise ConfigError(f"the recipe can't be written as TOML: {exc}", hint="rename that file or folder") from exc


def _range(about: FieldInfo) -> str:
    """What a key may be, in brackets: the choices, or the bounds of a number."""
    if get_origin(about.annotation) is Literal:
        return f"[{', '.join(get_args(about.annotation))}]"
    bounds = {name: str(getattr(rule, name)) for rule in about.metadata for name in RANGE_WORDS if hasattr(rule, name)}
    bounds.pop("min_length", None)
    if bounds.keys() == {"ge", "le"}:
        return f"[{bounds['ge']} to {bounds['le']}]"
    return f"[{', '.join(f'{RANGE_WORDS[name]} {bound}' for name, bound in bounds.items())}]" if bounds else ""


def differing_keys(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys whose values differ between two recipes, in order."""
    found: list[str] = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differing_keys(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}")
    return found


def known_keys() -> list[str]:
    """Every dotted key that a recipe may hold."""
    return [f"{name}.{key}" for name, model in SECTIONS.items() for key in model.model_fields]


def _config_error(details: ErrorDetails, collected: Collected) -> ConfigError:
    dotted = ".".join(str(part) for part in details["loc"])
    origin = collected.origin_of(dotted)
    if details["type"] == "extra_forbidden":
        near = _nearest(dotted)
        return ConfigError(
            f"unknown key {dotted!r} in {origin}" + (f"; did you mean {near!r}?" if near else ""), hint=_hint()
        )
    if details["type"] in ("model_type", "dict_type"):
        return ConfigError(f"{dotted} = {details['input']!r} in {origin} must be a table", hint=_hint())
    if details["type"] == "value_error":
        return ConfigError(f"{details['msg'].removeprefix('Value error, ')} (in {origin})", hint=_hint())
    return ConfigError(f"{dotted} = {details['input']!r} in {origin} must be {_allowed(details)}", hint=_hint())


def _allowed(details: ErrorDetails) -> str:
    section, key = str(details["loc"][0]), str(details["loc"][1])
    about = SECTIONS[section].model_fields[key]
    bounds = [
        f"{words} {getattr(rule, name):g}"
        for rule in about.metadata
        for name, words in RANGE_WORDS.items()
        if getattr(rule, name, None) is not None
    ]
    if details["type"] in OUT_OF_RANGE and len(details["loc"]) == 2:
        return " and ".join(bounds)
    # "Input should be ..." is how pydantic begins every sentence.
    said = details["msg"].removeprefix("Input should be ").removeprefix("a valid ").replace(" or equal to", "")
    return said + (f", {' and '.join(bounds)}" if bounds else "")


# Names that other tools use, too far in letters from ours to be found by likeness.
SPELT_OUT = {"learning_rate": "lr", "optimizer": "name", "optimiser": "name", "scheduler": "shape"}


def _nearest(dotted: str) -> str | None:
    names = known_keys()
    if "." not in dotted:
        sections = difflib.get_close_matches(dotted, SECTIONS, n=1)
        # A key of some section, written outside of any.
        inside = [name for name in names if name.split(".")[1] == dotted]
        return next(iter(sections or inside), None)
    section, _, key = dotted.partition(".")
    key = SPELT_OUT.get(key, key)
    here = difflib.get_close_matches(key, [n.split(".")[1] for n in names if n.startswith(f"{section}.")], n=1)
    if here:
        return f"{section}.{here[0]}"
    elsewhere = [name for name in names if name.split(".")[1] == key]
    return next(iter(elsewhere or difflib.get_close_matches(dotted, names, n=1)), None)


def _hint() -> str:
    return "imgcls train --print-config shows every key with its meaning"
