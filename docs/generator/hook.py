"""Tells MkDocs of the pages that are made from the code, so that they are as current as the code."""

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))

from commands import commands_page
from python_api import python_page
from recipe_keys import recipe_keys_page

ROOT = Path(__file__).parents[2]


def _changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


PAGES = {
    "reference/commands.md": commands_page,
    "reference/recipe-keys.md": recipe_keys_page,
    "reference/python.md": python_page,
    "changelog.md": _changelog,
}


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to those of `docs/pages`."""
    for path, make in PAGES.items():
        files.append(File.generated(config, path, content=make()))
    return files
