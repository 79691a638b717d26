"""From a file, `--set` and flags to a checked recipe, or to an error that names the key.

Later sources win: defaults < file < `--set section.key=value` < flags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imgcls.errors import ConfigError
from imgcls.host.data_files import MalformedError, check_depth, parse_toml, read_toml_file
from imgcls.recipes.resolving import resolve_recipe
from imgcls.recipes.schema import SECTIONS, Recipe
from imgcls.recipes.shipped import recipe_path
from imgcls.recipes.toml_text import to_toml
from imgcls.recipes.wording import HINT, config_error, nearest_key, range_text


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
                raise ConfigError(f"{name} in {dotted!r} from {origin} is a value, not a table", hint=HINT)
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
        check_depth(values)
        recipe = Recipe.model_validate(values)
    except MalformedError as exc:
        raise ConfigError(f"the recipe {exc}", hint=HINT) from exc
    except ValidationError as exc:
        raise config_error(exc.errors()[0], (collected or Collected()).origin_of) from exc
    return resolve_recipe(recipe) if resolve else recipe


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: missing, unreadable, too large or too deep, or not TOML; names the line.
    """
    try:
        return read_toml_file(path)
    except MalformedError as exc:
        raise ConfigError(f"{path} {exc}", hint=HINT) from exc
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"can't read the recipe {path}: {getattr(exc, 'strerror', None) or exc}",
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
        near = nearest_key(key) if equals and key and "." not in key else None
        example = f"--set {near}={value.strip()}" if near is not None and "." in near else "--set optim.lr=0.05"
        raise ConfigError(f"--set takes section.key=value, not {text!r}", hint=f"for example: {example}")
    try:
        # A line break would smuggle in a second key.
        parsed = parse_toml(f"value = {value.strip()}") if "\n" not in value else {"value": value}
    except MalformedError:
        # Text without quotes, as a path is; what is no value of that setting is found out there.
        return key, value.strip()
    return key, parsed["value"]


def recipe_text(recipe: Recipe, *, explained: bool = False) -> str:
    """The recipe as TOML, with each key's meaning behind it if asked.

    Raises:
        ConfigError: a string that TOML can't hold, such as a path that isn't UTF-8.
    """
    comments = {
        f"{name}.{key}": f"{about.description} {range_text(about)}".rstrip()
        for name, model in SECTIONS.items()
        for key, about in model.model_fields.items()
    }
    try:
        return to_toml(recipe.to_dict(), comments=comments if explained else None)
    except ValueError as exc:
        raise ConfigError(f"the recipe can't be written as TOML: {exc}", hint="rename that file or folder") from exc


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
