"""Typer's help and errors read as ours do."""

import re

import pytest
from labelled_data import write_classes
from typer.testing import CliRunner

from imgcls.cli.app import app

COMMANDS = [
    "", "env-check", "train", "tune", "compare", "eval", "calibrate", "check", "predict", "serve", "collect", "export",
    "models", "recipes",
]  # fmt: skip


def run(*arguments, **environment):
    return CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1", **environment}).invoke(app, list(arguments))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_values_and_not_pythons_types(command):
    result = run(*command.split(), "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert not re.search(r"<(bool|int|float|str|Path|list)\b|\[x?[<>]=?|int range|\.\.\.\.", result.stdout), (
        result.stdout
    )
    # A flag shows nothing in the place of a value.
    (line,) = [line for line in result.stdout.splitlines() if "--help" in line]
    assert re.fullmatch(r"│ +--help +-h +Show this message and exit\. +│", line)


def test_help_says_bounds_in_words():
    text = " ".join(run("eval", "--help", COLUMNS="200").stdout.split())
    assert re.search(r"--workers N Threads or processes that decode[^│]*\(0 to 1024\)", text)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["evl"], "no such command 'evl'; did you mean 'eval'?", "imgcls --help"),
        (
            ["eval", "x", "--splt", "val"],
            "no such option: --splt; did you mean --sort, --split, --std?",
            "imgcls eval --help",
        ),
        (
            ["eval", "x", "-f", "xml"],
            "invalid value for '--format' / '-f': 'xml' is not one of 'table', 'json'",
            "--help",
        ),
        (["eval", "x", "--workers", "-1"], "invalid value for '--workers': must be at least 0", "imgcls eval --help"),
        (["train", "--epochs", "many"], "invalid value for '--epochs': must be an integer", "imgcls train --help"),
        (["train", "--lr", "fast"], "invalid value for '--lr': must be a number", "imgcls train --help"),
        (["compare"], "missing argument 'RUN'", "imgcls compare --help"),
        (["eval", "x", "--device"], "option '--device' requires an argument", "imgcls --help"),
        (["train", "--img-size", "96"], "no such option: --img-size", "here it is --set data.image_px=224"),
        (["train", "--optimizer", "sgd"], "no such option: --optimizer", "here it is --set optim.name=sgd"),
        (["eval", "x", "--img-size", "96"], "no such option: --img-size", "imgcls eval --help"),
        (["recipes", "a", "b"], "got unexpected extra argument", "imgcls recipes --help"),
    ],
)
def test_wrong_usage_is_told_in_our_two_lines(arguments, message, hint):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    error, below = result.stderr.splitlines()
    assert error.startswith(f"error: {message}")
    assert below.startswith("  hint: ")
    assert hint in below


def test_colours_can_be_forced_and_forbidden(tmp_path):
    from imgcls.recipes.loading import load_recipe
    from imgcls.training.run import train

    data = write_classes(tmp_path / "pets", {"cat": 6, "dog": 6})
    settings = ("model.name=mlp", "model.arguments.hidden=[4]", "data.image_px=8", "train.epochs=1")
    train(load_recipe(assignments=settings, flags={"data.source": str(data)}), output=tmp_path / "run")

    def stdout(**environment):
        return CliRunner(env=environment).invoke(app, ["compare", str(tmp_path / "run")], color=True).stdout

    assert "\x1b[" not in stdout(NO_COLOR="", FORCE_COLOR="")
    assert "\x1b[" in stdout(NO_COLOR="", FORCE_COLOR="1")
    assert "\x1b[" not in stdout(NO_COLOR="1", FORCE_COLOR="1")


def test_counts_agree_with_their_nouns(tmp_path):
    data = write_classes(tmp_path / "pets", {"cat": 4, "dog": 4})
    small = ("--set", "model.name=mlp", "--set", "model.arguments.hidden=[4]", "--set", "data.image_px=8")
    said = []
    for command in (
        ("train", "--data", data, *small, "--epochs", 1, "--device", "cpu", "--dry-run"),
        ("train", "--data", data, *small, "--epochs", 1, "--device", "cpu", "-o", tmp_path / "run"),
        ("eval", tmp_path / "run"),
        ("predict", data / "cat" / "000.png", "-m", tmp_path / "run"),
        ("compare", tmp_path / "run"),
        ("check", data),
    ):
        result = run(*map(str, command))
        assert result.exit_code == 0, result.output
        said.append(result.output)
    text = "\n".join(said)
    assert re.search(r"\b1 epoch\b", text)
    wrong = r"(?<![\d.,/])1 (?:\w+ ){0,2}(?:epochs|images|steps|classes|inputs|files|folders|frames|runs|findings)\b"
    assert re.findall(wrong, text) == []
