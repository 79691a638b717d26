"""Folders of images as people have them, through `imgcls train`: what it makes of them, and what it says."""

import functools
import json
import os
import shlex
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_data import damage, write_classes, write_image
from PIL import Image
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.images import cropping
from imgcls.models.checkpoint import load_checkpoint

SETTINGS = ("--epochs", "1", "--set", "data.image_px=8", "--set", "model.arguments.widths=[4]", "--device", "cpu")


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train on `pets` in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *options: CliRunner().invoke(
        app, ["train", "--data", "pets", *SETTINGS, "-o", "run", "-f", "json", *map(str, options)]
    )


def classes_of(run="run"):
    return load_checkpoint(Path(run, "best.pt")).classes


def test_any_kind_of_image(train):
    write_classes(Path("pets"), {"cat": 2, "dog": 2})
    grey = (np.arange(600).reshape(20, 30) % 256).astype(np.uint8)
    images = {
        "grey.png": Image.fromarray(grey),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "alpha.png": Image.new("RGBA", (30, 21), (9, 8, 7, 100)),
        "grey-alpha.png": Image.new("LA", (3, 200)),
        "palette.gif": Image.new("P", (640, 4)),
        "print.jpg": Image.new("CMYK", (31, 17)),
        "bit.png": Image.new("1", (50, 50)),
        "float.tiff": Image.new("F", (9, 9)),
        "dot.png": Image.new("RGB", (1, 1)),
        "thread.png": Image.new("L", (1, 3000)),
    }
    for name, image in images.items():
        image.save(Path("pets/cat", name))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 20), (200, 0, 0)).save("pets/dog/turned.jpg", exif=turned)
    result = train("--set", "data.val_fraction=0")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["skipped_images"] == 0
    assert "15 training images" in result.stderr


def test_what_is_no_image(train):
    write_classes(Path("pets"), {"cat": 4, "dog": 4, "owl": 0})
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "cat/._000.png", "cat/notes.txt", "dog/.hidden.png"):
        Path("pets", name).write_bytes(b"x")
    Path("pets/cat/.ipynb_checkpoints").mkdir()
    write_image(Path("pets/cat/.ipynb_checkpoints/a.png"))
    Path("pets/dog/words.jpg").write_text("no image at all")
    Path("pets/dog/phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    damage(Path("pets/dog/001.png"))
    for name in ("a.CR2", "b.cr2", "c.mov"):
        Path("pets/owl", name).write_bytes(b"x")
    result = train()
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["skipped_images"] == 3
    for text in (
        "words.jpg: not_an_image",
        "phone.heic: corrupt_image: HEIC or HEIF with a damaged header",
        "001.png: corrupt_image",
        "1 class folder has no images and is left out: 'owl' (2 .cr2, 1 .mov); convert files of other types",
    ):
        assert text in result.stderr
    for text in ("DS_Store", "Thumbs", "_000", "notes", "hidden", "ipynb"):
        assert text not in result.stderr
    refused = train("--strict", "-o", "strict")
    assert (refused.exit_code, refused.stdout) == (5, "")


def test_an_image_too_large_to_decode_is_skipped(train, monkeypatch):
    write_classes(Path("pets"), {"cat": 3, "dog": 3})
    monkeypatch.setattr(cropping, "DecodeOptions", functools.partial(cropping.DecodeOptions, max_pixels=1000))
    write_image(Path("pets/cat/huge.png"), px=40)
    result = train()
    assert result.exit_code == 0, result.output
    assert "huge.png: too_large: 43 x 40 is more than 1,000 pixels" in result.stderr


def test_names_of_any_letters(train):
    names = {" lead": 3, "a cat & a dog": 3, "été": 3, "кот": 3, "猫": 3, "🐱": 3, "50%": 3, "--dash": 3, "a,b;\"c'": 3}
    if sys.platform == "win32":
        names.pop("a,b;\"c'")
    write_classes(Path("pets"), names)
    result = train()
    assert result.exit_code == 0, result.output
    assert set(classes_of()) == set(names)
    tomllib.loads(Path("run/config.toml").read_text(encoding="utf-8"))
    evaluated = CliRunner().invoke(app, ["eval", "run", "--data", "pets", "-f", "json"])
    assert {row["label"] for row in json.loads(evaluated.stdout)["classes"]} == set(names)


def test_the_first_level_is_the_class_however_deep_the_images_lie(train):
    for name in ("cat/indoors/2024", "cat/outdoors", "dog/a/b/c/d"):
        for number in range(3):
            write_image(Path("pets", name, f"{number}.png"), seed=number)
    assert train().exit_code == 0
    assert classes_of() == ("cat", "dog")


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "val"), "val"),
        (("training", "validation"), "val"),
        (("Train", "Valid", "Test"), "val"),
        (("TRAIN", "testing"), "test"),
    ],
)
def test_what_people_call_their_splits(train, folders, splits):
    for folder in folders:
        write_classes(Path("pets", folder), {"cat": 4, "dog": 4})
    result = train()
    assert result.exit_code == 0, result.output
    assert classes_of() == ("cat", "dog")
    assert "8 training images, 8 validation images" in result.stderr
    assert load_checkpoint(Path("run/best.pt")).metrics["data"]["split"] == splits


def test_classes_of_a_single_image(train):
    write_classes(Path("pets"), {"cat": 4, "dog": 1, "owl": 1})
    result = train()
    assert result.exit_code == 0
    text = "2 classes have a single image, which goes to training, so that validation never sees it: 'dog', 'owl'"
    assert text in result.stderr
    write_classes(Path("ones"), {"cat": 1, "dog": 1, "owl": 1})
    alone = train("--data", "ones", "-o", "alone")
    assert alone.exit_code == 0, alone.output
    whole = Path("ones").absolute()
    assert f"every class of {whole} has a single image, which goes to training: there is no validation" in alone.stderr
    assert json.loads(alone.stdout)["best"] == {"epoch": 1, "top1": None, "loss": None}


def test_a_thousand_classes(train):
    write_classes(Path("pets"), {f"class {number}": 1 for number in range(1000)})
    result = train("--data", "pets", "--batch-size", "500")
    assert result.exit_code == 0, result.output
    assert "1000 classes" in result.stderr.replace(",", "")
    assert len(classes_of()) == 1000


def nested():
    write_classes(Path("pets"), {"animals/cat": 3, "animals/dog": 3})


def alone():
    write_classes(Path("pets"), {"cat": 3})


def other_case_in_val():
    write_classes(Path("pets/train"), {"Cat": 3, "dog": 3})
    write_classes(Path("pets/val"), {"cat": 2, "dog": 2})


def more_in_val():
    write_classes(Path("pets/train"), {"cat": 3, "dog": 3})
    write_classes(Path("pets/val"), {"cat": 2, "fox": 1, "wolf": 2})


def empty_val():
    write_classes(Path("pets/train"), {"cat": 3, "dog": 3})
    Path("pets/val/cat").mkdir(parents=True)


def flat():
    write_image(Path("pets/a.png"))


def nothing():
    Path("pets").mkdir()


def twice():
    for name in ("train", "val", "validation"):
        write_classes(Path("pets", name), {"cat": 3, "dog": 3})


def unreadable():
    write_classes(Path("pets"), {"cat": 3, "dog": 3})
    for path in Path("pets").rglob("*.png"):
        damage(path)


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (nested, "only one class, 'animals'", f"{Path('pets/animals')}"),
        (alone, "only one class, 'cat'", "DIR/CLASS"),
        (other_case_in_val, "train lacks: 'cat'", f"rename {Path('pets/val/cat')} to 'Cat'"),
        (more_in_val, "has 2 classes that", "add images of them to"),
        (empty_val, "holds no images in class folders", "remove it: a part of the training images then validates"),
        (flat, "images, but not in class folders", "DIR/CLASS"),
        (nothing, "no images in class folders", "DIR/CLASS"),
        (twice, "has both val and validation", "rename or remove one"),
        (unreadable, "none of the 4 images of pets (train) can be read", "check the files"),
        (lambda: Path("pets").write_text("x"), "pets is not a folder", "DIR/CLASS"),
        (lambda: None, "no such data set: pets", "use cifar10 or a folder"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_trained_on_says_what_to_do(train, make, message, hint):
    make()
    result = train()
    assert (result.exit_code, result.stdout) == (5, "")
    # A run knows its data by their whole path.
    said = result.stderr.replace(f"{Path.cwd()}{os.sep}", "")
    error, advice = said.strip().splitlines()[-2:]
    assert message in error
    assert hint in advice
    assert not Path("run").exists()


def test_the_command_after_one_class_alone_works(train):
    nested()
    advice = train().stderr.strip().splitlines()[-1]
    assert "if the 2 folders in it are the classes: --data " in advice
    assert train("--data", advice.rpartition("--data ")[2]).exit_code == 0


def test_the_path_in_a_hint_can_be_typed(train):
    nested()
    Path("pets").rename("my pets")
    advice = train("--data", "my pets").stderr.strip().splitlines()[-1]
    (option, path) = shlex.split(advice.partition(": if the ")[2].rpartition(": ")[2])
    assert train(option, path).exit_code == 0


def test_a_damaged_archive_is_called_so(train):
    Path("pets.zip").write_bytes(b"PK")
    result = train("--data", "pets.zip")
    assert result.exit_code == 5
    assert "it is no zip file" in result.stderr


def test_what_is_probably_not_meant_is_said(train):
    write_classes(Path("pets"), {"dog": 4, ".net": 4, "owl": 4})
    write_image(Path("pets/stray.png"))
    for number in range(3):
        damage(write_image(Path("pets/fox", f"{number}.png")))
    expected = [
        "in pets, 1 image lies beside the class folders, in none of them: 'stray.png'",
        "1 folder of images is left out for the dot that its name begins with: '.net'; rename it if it is a class",
        "no training image of 1 class can be read: 'fox'",
    ]
    if sys.platform == "linux":
        write_classes(Path("pets"), {"Cat": 4, "cat": 4})
        expected.append("'Cat' and 'cat' are 2 classes that differ in nothing but case and spaces")
    result = train("-q")
    assert result.exit_code == 0, result.output
    said = result.stderr.replace(f"{Path.cwd()}{os.sep}", "")
    for text in expected:
        assert f"warning: {text}" in said, said


@pytest.mark.unprivileged
def test_a_folder_that_cannot_be_listed(train):
    write_classes(Path("pets"), {"cat": 3, "dog": 3})
    Path("pets/dog").chmod(0)
    try:
        result = train()
    finally:
        Path("pets/dog").chmod(0o700)
    assert result.exit_code == 5
    assert "check its permissions" in result.stderr


def test_a_last_batch_of_one_and_batches_of_one(train):
    write_classes(Path("pets"), {"cat": 5, "dog": 4})
    options = ("--set", "data.val_fraction=0")
    assert train(*options, "--batch-size", "4").exit_code == 0
    assert train(*options, "--batch-size", "1", "-o", "one").exit_code == 0
    # Down to one pixel, batch norm has nothing to compare.
    small = ("--batch-size", "1", "-m", "resnet18", "--set", "data.image_px=32")
    result = CliRunner().invoke(app, ["train", "--data", "pets", *small])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Expected more than 1 value per channel" in result.stderr
    assert "--batch-size 2 or more" in result.stderr


def test_other_sizes_of_a_folder_go_through_one_preprocessing(train):
    write_classes(Path("pets"), {"cat": 3, "dog": 3})
    Image.new("RGB", (2000, 3)).save("pets/cat/wide.png")
    Image.new("RGB", (3, 2000)).save("pets/dog/high.png")
    assert train().exit_code == 0
    content = torch.load("run/best.pt", weights_only=True)
    assert content["transform"]["crop_px"] == 8
