"""What is said of a recipe's keys: their ranges, what is wrong with a value, and which key was probably meant."""

import difflib
import json
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from imgcls.errors import ConfigError
from imgcls.recipes.schema import SECTIONS

HINT = "imgcls train --print-config shows every key with its meaning"
RANGE_WORDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
# What pydantic calls a value of the right kind that is too small or too large.
OUT_OF_RANGE = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
KINDS = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a string",
    "bool_type": "true or false",
    "model_type": "a table",
    "dict_type": "a table",
    "tuple_type": "an array",
    "list_type": "an array",
    "string_too_short": "not empty",
}
# Of a wrong value in a message.
MAX_SHOWN = 100
# Names that other tools use, too far in letters from ours to be found by likeness.
SPELT_OUT = {"learning_rate": "lr", "optimizer": "name", "optimiser": "name", "scheduler": "shape"}


def known_keys() -> list[str]:
    """Every dotted key that a recipe may hold."""
    return [f"{name}.{key}" for name, model in SECTIONS.items() for key in model.model_fields]


def range_text(about: FieldInfo) -> str:
    """What a key may be, in brackets: the choices, or the bounds of a number."""
    if get_origin(about.annotation) is Literal:
        return f"[{', '.join(get_args(about.annotation))}]"
    bounds = _bounds(about)
    if bounds.keys() == {"ge", "le"}:
        return f"[{bounds['ge']} to {bounds['le']}]"
    return f"[{', '.join(f'{RANGE_WORDS[name]} {bound}' for name, bound in bounds.items())}]" if bounds else ""


def config_error(details: ErrorDetails, origin_of: Callable[[str], str]) -> ConfigError:
    """What pydantic found wrong, in our words.

    Args:
        details: the first of its errors.
        origin_of: which source set a dotted key.
    """
    location = [str(part) for part in details["loc"]]
    if details["type"] == "missing":
        # Of a tuple, whose place has no value: what can be named is the array.
        location.pop()
    dotted = ".".join(location)
    origin = shortened(origin_of(dotted))
    if details["type"] == "extra_forbidden":
        near = nearest_key(dotted)
        meant = f"; did you mean {near!r}?" if near else ""
        return ConfigError(f"unknown key {dotted!r} in {origin}{meant}", hint=HINT)
    if details["type"] == "value_error":
        # What a validator of ours says, without pydantic's words before it.
        return ConfigError(f"{details['ctx']['error']} (in {origin})", hint=HINT)
    return ConfigError(f"{dotted} = {shortened(_written(details['input']))} in {origin} {_wanted(details)}", hint=HINT)


def shortened(text: str) -> str:
    """A text of which the beginning says enough."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _written(value: Any) -> str:
    """A value as a person wrote it in TOML, or nearly so."""
    if isinstance(value, bool):
        return json.dumps(value)
    return repr(value)


def _wanted(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "missing":
        return f"must have more than {len(details['input'])} values"
    if kind in ("too_long", "too_short"):
        ends = {"too_long": ("most", "max_length"), "too_short": ("least", "min_length")}[kind]
        return f"must have at {ends[0]} {context[ends[1]]} values"
    section, key = str(details["loc"][0]), str(details["loc"][1]) if len(details["loc"]) > 1 else ""
    field = SECTIONS[section].model_fields.get(key)
    is_inner = len(details["loc"]) > 2
    # A bound of an array's element stands in the error alone, that of a setting in its field.
    bounds = {} if field is None or is_inner else _bounds(field)
    if kind in OUT_OF_RANGE and not bounds:
        bounds = {OUT_OF_RANGE[kind]: _number(next(iter(context.values())))}
    limits = " and ".join(f"{RANGE_WORDS[name]} {bound}" for name, bound in bounds.items())
    if kind in OUT_OF_RANGE:
        return f"must be {limits}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    wanted = KINDS.get(kind) or details["msg"].removeprefix("Input should be ")
    return f"must be {wanted}" + (f", {limits}" if limits else "")


def _bounds(about: FieldInfo) -> dict[str, str]:
    return {
        name: _number(bound)
        for rule in about.metadata
        for name in RANGE_WORDS
        if (bound := getattr(rule, name, None)) is not None
    }


def _number(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def nearest_key(dotted: str) -> str | None:
    """The known key, or section, that was probably meant."""
    names = known_keys()
    if "." not in dotted:
        sections = difflib.get_close_matches(dotted, SECTIONS, n=1)
        # A key of some section, written outside of any.
        inside = [name for name in names if name.split(".")[1] == SPELT_OUT.get(dotted, dotted)]
        return next(iter(sections or inside), None)
    section, _, key = dotted.partition(".")
    key = SPELT_OUT.get(key, key)
    here = difflib.get_close_matches(key, [n.split(".")[1] for n in names if n.startswith(f"{section}.")], n=1)
    if here:
        return f"{section}.{here[0]}"
    elsewhere = [name for name in names if name.split(".")[1] == key]
    return next(iter(elsewhere or difflib.get_close_matches(dotted, names, n=1)), None)
