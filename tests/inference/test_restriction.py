"""Answers among some classes: scaled to 1, named in the record, unknown names refused with the nearest one."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_model import save_image
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.errors import UsageError
from imgcls.inference.restriction import Restriction

CLASSES = ("cat", "dog", "tabby, tabby cat")


def test_the_rest_is_scaled_to_1():
    found = Restriction(CLASSES, ("cat,dog",)).apply(np.array([0.2, 0.3, 0.5], np.float32))
    assert found.tolist() == pytest.approx([0.4, 0.6, 0])


def test_several_labels_are_not_scaled():
    found = Restriction(CLASSES, ("dog",), is_multi_label=True).apply(np.array([0.9, 0.3, 0.5], np.float32))
    assert found.tolist() == pytest.approx([0, 0.3, 0])


def test_a_name_with_a_comma_is_one_name():
    assert Restriction(CLASSES, ("tabby, tabby cat", "cat")).indices == [0, 2]


def test_what_has_no_probability_at_all_is_unknown():
    found = Restriction(CLASSES, ("cat,dog",)).apply(np.array([0, 0, 1], np.float32))
    assert found.tolist() == [0.5, 0.5, 0]


@pytest.mark.parametrize(("wanted", "hint"), [("dgo", "did you mean 'dog'"), ("zebra", "its classes are"), ("", "its")])
def test_no_class_of_the_model(wanted, hint):
    with pytest.raises(UsageError) as raised:
        Restriction(CLASSES, (wanted,))
    assert hint in raised.value.hint


def test_the_command_says_so_in_the_record(tmp_path: Path, tiny_model: Path):
    image = save_image(tmp_path / "a.png")
    arguments = ["predict", "-m", str(tiny_model), str(image), "-f", "json", "--runtime", "torch"]
    plain, found = (
        json.loads(CliRunner().invoke(app, [*arguments, *options]).stdout)["results"][0]
        for options in ([], ["--classes", "cat,owl"])
    )
    assert found["restricted_to"] == 2
    assert sum(each["probability"] for each in found["predictions"]) == pytest.approx(1, abs=1e-6)
    by_label = {each["label"]: each["probability"] for each in plain["predictions"]}
    expected = by_label["cat"] / (by_label["cat"] + by_label["owl"])
    assert {each["label"]: each["probability"] for each in found["predictions"]}["cat"] == pytest.approx(
        expected, abs=1e-6
    )
    assert "restricted_to" not in plain
