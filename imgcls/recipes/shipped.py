"""The recipes that ship with the package: found by name, and described by the header of each file.

A header is the comment at the head of a file: a title, the command below it, and lines `# Key: value`, each of which
may go on in lines that are indented further.
"""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from imgcls.errors import ConfigError

PACKAGE = Path(__file__).parents[1]
IN_PACKAGE = PACKAGE / "recipes" / "shipped"
# In a checkout, and so in an editable install, the recipes lie here alone.
IN_CHECKOUT = PACKAGE.parent / "configs"
# What a recipe's header says of it, by the word that it stands behind there.
FIGURES = {
    "accuracy": "Accuracy",
    "seeds": "Seeds",
    "time": "Time",
    "hardware": "Hardware",
    "measured_by": "Measured by",
}
KEY_LINE = re.compile(r"# (?P<key>[A-Z][A-Za-z ]*): (?P<value>.+)")
HINT = "imgcls recipes lists the names"


@dataclass(frozen=True, slots=True)
class ShippedRecipe:
    """A file of the package.

    Attributes:
        name: what `--config` or `--space` takes.
        path: of the file.
        kind: `recipe`, or `space` for a search space.
        title: the header's first sentence.
        command: the command that the header names first.
        figures: by the keys of `FIGURES`, as the header has them; what it lacks is missing here too.
        text: of the file.
    """

    name: str
    path: Path
    kind: str
    title: str
    command: str
    figures: dict[str, str]
    text: str

    def to_dict(self) -> dict[str, str | None]:
        """Plain values, with None for figures that the header lacks."""
        figures = {key: self.figures.get(key) for key in FIGURES}
        return {
            "name": self.name, "kind": self.kind, "title": self.title, "command": self.command, **figures,
            "path": str(self.path),
        }  # fmt: skip


def shipped_folder() -> Path:
    """Where the recipes of this installation lie."""
    is_checkout = not IN_PACKAGE.is_dir() and (PACKAGE.parent / "pyproject.toml").is_file()
    return IN_CHECKOUT if is_checkout else IN_PACKAGE


def shipped_names() -> list[str]:
    """The names that `--config` and `--space` take beside paths."""
    return sorted(path.stem for path in shipped_folder().glob("*.toml"))


def shipped_recipes() -> list[ShippedRecipe]:
    """All of them, recipes before search spaces."""
    found = [read_shipped(name) for name in shipped_names()]
    return sorted(found, key=lambda recipe: (recipe.kind, recipe.name))


def read_shipped(name: str) -> ShippedRecipe:
    """One of them by name, with or without `.toml`.

    Raises:
        ConfigError: no such name, or an installation that lacks its files.
    """
    known = shipped_names()
    stem = name.removesuffix(".toml")
    if stem not in known:
        raise ConfigError(f"unknown recipe {name!r}{_suggestion(stem, known)}", hint=HINT)
    path = shipped_folder() / f"{stem}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"can't read the recipe {path}: {exc}", hint="install imgcls again") from exc
    return _described(stem, path, text)


def recipe_path(given: Path | str) -> Path:
    """The file that `--config` or `--space` means: a path, else a shipped recipe by name.

    Raises:
        ConfigError: neither; the message has the nearest name.
    """
    path = Path(given)
    # What looks like a path is one, and its reader says what is wrong with it.
    try:
        is_path = path.is_file() or len(path.parts) != 1
    except (OSError, ValueError):
        is_path = True
    if is_path:
        return path
    stem, known = path.name.removesuffix(".toml"), shipped_names()
    if stem in known:
        return shipped_folder() / f"{stem}.toml"
    meant = _suggestion(stem, known)
    if path.exists() or (path.suffix == ".toml" and not meant):
        return path
    raise ConfigError(f"there is no file and no shipped recipe {str(path)!r}{meant}", hint=HINT)


def _suggestion(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _described(name: str, path: Path, text: str) -> ShippedRecipe:
    header = [line for line in text.partition("\n[")[0].splitlines() if line.startswith("#")]
    said: dict[str, str] = {}
    key = ""
    for line in header:
        if found := KEY_LINE.fullmatch(line):
            key = found["key"]
            said[key] = found["value"]
        elif key and line.startswith("#  "):
            said[key] += f" {line[1:].strip()}"
        else:
            key = ""
    title = header[0].removeprefix("# ") if header else ""
    command = next((line.removeprefix("#").strip() for line in header if line.startswith("#   imgcls ")), "")
    return ShippedRecipe(
        name=name,
        path=path,
        kind="space" if command.startswith("imgcls tune") else "recipe",
        title=title,
        command=command,
        figures={figure: said[word] for figure, word in FIGURES.items() if word in said},
        text=text,
    )
