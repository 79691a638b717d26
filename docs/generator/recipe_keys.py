"""The page of recipe keys: meaning, range and default of each, read from the schema."""

from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from imgcls.recipes.loading import check_recipe
from imgcls.recipes.schema import SECTIONS

HEADING = """# Recipe keys

This page is made from the program itself. A recipe is a TOML file with these sections, for example:

```toml
[model]
name = "resnet50"

[train]
epochs = 30
```

`imgcls train -c my.toml` reads it, `--set train.epochs=30` and flags override it, and `--print-config` prints the
result. Later sources win: defaults, then the recipe, then `--set`, then flags. An unknown key and a value out of its
range are errors with exit code 3 before any work starts. A key without a default follows from the data and the network.
"""
BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def recipe_keys_page() -> str:
    """The whole page, in Markdown."""
    defaults = check_recipe({}, resolve=False).model_dump(mode="json")
    parts = [HEADING]
    for name, section in SECTIONS.items():
        about_section = " ".join((section.__doc__ or "").split()).removeprefix(f"[{name}]: ")
        parts.append(f"## [{name}] {{ #{name} }}\n\n{about_section[:1].upper()}{about_section[1:]}\n")
        parts.append("| Key | Meaning | Range | Default |\n| --- | --- | --- | --- |")
        for key, about in section.model_fields.items():
            cells = (f"`{name}.{key}`", about.description or "", _range(about), _toml(defaults[name][key]))
            parts.append("| " + " | ".join(cell.replace("|", "\\|").replace("[[", "&#91;[") for cell in cells) + " |")
        parts.append("")
    return "\n".join(parts)


def _range(about: FieldInfo) -> str:
    for kind in (about.annotation, *get_args(about.annotation)):
        if get_origin(kind) is Literal:
            return ", ".join(f"`{choice}`" for choice in get_args(kind))
    limits = {bound: getattr(rule, bound) for rule in about.metadata for bound in BOUNDS if hasattr(rule, bound)}
    if limits.keys() == {"ge", "le"}:
        return f"{limits['ge']:g} to {limits['le']:g}" if limits["le"] < 1e6 else f"{limits['ge']} to {limits['le']}"
    if limits:
        return ", ".join(f"{BOUNDS[bound]} {limit}" for bound, limit in limits.items() if limit is not None)
    return "true or false" if about.annotation is bool else ""


def _toml(value: Any) -> str:
    if value is None or value is PydanticUndefined or value == "":
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"
