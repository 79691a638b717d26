"""The generated pages are complete: every command, option, recipe key and public name is there."""

import dataclasses
import re

import pytest
from commands import commands, commands_page
from pages import ROOT
from python_api import public_item, public_names, python_page
from recipe_keys import recipe_keys_page

from imgcls.errors import ExitCode, ImageErrorKind
from imgcls.outputs.formats import FORMATS
from imgcls.outputs.record import ImageRecord, Prediction, RecordError
from imgcls.recipes.schema import Recipe


def section(page: str, name: str) -> str:
    return re.split(r"^## ", page.partition(f"\n## {name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_of_every_command_is_there(name):
    described = section(commands_page(), name)
    missing = [
        spelling
        for param in commands()[name].params
        if not getattr(param, "hidden", False) and param.param_type_name == "option"
        for spelling in param.opts
        if not re.search(rf"\| `[^`]*(?<![\w-]){re.escape(spelling)}(?![\w-])", described)
    ]
    assert missing == []
    # A heading, a usage line and an example.
    assert f"imgcls {name} [OPTIONS]" in described
    assert "```sh\nimgcls " + name in described


def test_every_option_says_what_it_does():
    silent = [
        f"{name} {param.opts[0]}"
        for name, command in commands().items()
        for param in command.params
        if not getattr(param, "hidden", False) and not param.help
    ]
    assert silent == []


def test_every_recipe_key_is_there_with_its_meaning():
    rows = dict(re.findall(r"^\| `([\w.]+)` \| ([^|]+) \|", recipe_keys_page(), re.MULTILINE))
    sections = Recipe().model_dump()
    assert sorted(rows) == sorted(f"{name}.{key}" for name, keys in sections.items() for key in keys)
    assert [key for key, meaning in rows.items() if not meaning.strip()] == []


def test_ranges_and_defaults_of_recipe_keys():
    page = recipe_keys_page()
    assert "| `train.epochs` | passes over the training images | 1 to 100000 | `20` |" in page
    assert re.search(r"\| `optim.name` \| [^|]* \| `sgd`, `adamw`, `muon` \| `\"adamw\"` \|", page)
    assert re.search(r"\| `optim.lr` \| [^|]* \| more than 0, at most 100 \| `0.001` \|", page)


def test_every_public_name_is_there_with_its_docstring():
    page = python_page()
    headings = re.findall(r"^### (\w+) \{", page, re.MULTILINE)
    assert sorted(headings) == sorted(public_names())
    for name in public_names():
        first_line = (public_item(name).__doc__ or "").strip().splitlines()[0]
        assert first_line.replace("\\", "").replace("`", "")[:40] in page.replace("\\", "").replace("`", "")


def test_every_exit_code_and_error_kind_is_there():
    page = (ROOT / "docs" / "pages" / "reference" / "exit-codes.md").read_text("utf-8")
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == [str(code.value) for code in sorted(ExitCode)]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(ImageErrorKind.__args__)


def test_every_key_of_a_record_is_there():
    page = (ROOT / "docs" / "pages" / "reference" / "records.md").read_text("utf-8")
    good = ImageRecord("a.jpg", "m@1", (Prediction(0, "cat", 0.5),), 4, 3, uncertain=True)
    bad = ImageRecord("b.jpg", "m@1", error=RecordError("not_found", "no such file"))
    keys = {*good.to_dict(), *bad.to_dict(), *(field.name for field in dataclasses.fields(Prediction))}
    assert sorted(key for key in keys if f"`{key}`" not in page) == []


def test_every_output_format_is_there():
    page = (ROOT / "docs" / "pages" / "reference" / "records.md").read_text("utf-8")
    page = page.partition("\n## Formats\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\| [^|]* \| (yes)? ?\|$", page, re.MULTILINE)
    found = {name: (tuple(re.findall(r"`([^`]*)`", suffixes)), bool(resumed)) for name, suffixes, resumed in rows}
    assert found == {name: (each.suffixes, each.is_resumable) for name, each in FORMATS.items()}


def test_every_environment_variable_is_there():
    page = (ROOT / "docs" / "pages" / "reference" / "environment.md").read_text("utf-8")
    used = set()
    for path in (ROOT / "imgcls").rglob("*.py"):
        used |= set(re.findall(r"\bIMGCLS_[A-Z_]+\b", path.read_text("utf-8")))
    assert sorted(name for name in used if f"| `{name}` |" not in page) == []


def test_every_extra_is_there():
    import tomllib

    page = (ROOT / "docs" / "pages" / "installation.md").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert [name for name in project["optional-dependencies"] if f"| `{name}` |" not in page] == []
