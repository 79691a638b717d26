"""The examples on the pages: shell lines fit the command line, Python runs, JSON and TOML can be read."""

import json
import tomllib

import pytest
import typer
from labelled_data import write_classes
from pages import PAGES, Example, blocks, imgcls_calls, name_of, shell_examples
from tiny_model import save_image

from imgcls.cli.app import app, load_command
from imgcls.cli.commands import COMMANDS

GROUP = typer.main.get_command(app)
EXAMPLES = [example for page in PAGES for example in shell_examples(page)]
# What a script of the pages would have set.
VARIABLES = {"$share": "1", "$(date +%F)": "2026-11-27"}


def parse(words: tuple[str, ...]) -> None:
    """Parse arguments as the command line does, without running anything."""
    words = tuple(VARIABLES.get(word, word.replace("$share", "1")) for word in words)
    if words[0].startswith("--"):
        GROUP.make_context("imgcls", [words[0]], resilient_parsing=True)
        assert words[0] in {spelling for param in GROUP.params for spelling in param.opts}
        return
    assert words[0] in COMMANDS, f"there is no command {words[0]!r}"
    load_command(words[0]).make_context(words[0], list(words[1:]), parent=typer.Context(GROUP))


@pytest.mark.parametrize("example", dict.fromkeys(EXAMPLES), ids=str)
def test_shell_examples_parse(example: Example):
    parse(example.words)


def test_most_pages_have_examples():
    assert len(EXAMPLES) > 40
    assert len({example.page for example in EXAMPLES}) > 8


def test_a_wrong_option_is_found():
    with pytest.raises(Exception, match="--treshold"):
        parse(("predict", "a.jpg", "--treshold", "0.5"))
    with pytest.raises(AssertionError, match="no command 'predcit'"):
        parse(("predcit", "a.jpg"))


def test_calls_are_found_in_shell_lines():
    line = "A=1 torchrun --n 2 -m imgcls train -o r  # imgcls no\n"
    assert list(imgcls_calls(line)) == [("train", "-o", "r")]
    line = "find . | imgcls predict --files-from - -0 >>log 2>&1 && x; imgcls eval 'a b' || [ $? -eq 4 ]"
    assert list(imgcls_calls(line)) == [("predict", "--files-from", "-", "-0"), ("eval", "a b")]


PYTHON = [(name_of(page), number, text) for page in PAGES for number, text in enumerate(blocks(page, "python"))]


@pytest.mark.parametrize(("page", "number", "text"), PYTHON, ids=[f"{page}-{number}" for page, number, _ in PYTHON])
def test_python_examples_run(page, number, text, tmp_path, monkeypatch, tiny_model):
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "photo.jpg")
    write_classes(tmp_path / "pets", {"cat": 6, "dog": 6, "owl": 6})
    (tmp_path / "runs" / "pets").mkdir(parents=True)
    (tmp_path / "runs" / "pets" / "best.pt").write_bytes(tiny_model.read_bytes())
    exec(compile(text, f"{page} block {number}", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_data_examples_can_be_read(page):
    for text in blocks(page, "toml"):
        tomllib.loads(text)
    for text in blocks(page, "json"):
        decoder, position = json.JSONDecoder(), 0
        while position < len(text):
            _value, end = decoder.raw_decode(text, position)
            position = end + len(text[end:]) - len(text[end:].lstrip())
