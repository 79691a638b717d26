"""The Python API: `load_classifier`, and what it says to those who call it wrongly."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_model import CLASSES, save_image, save_images

from imgcls import Classifier, ImageError, load_classifier
from imgcls.errors import UsageError


@pytest.fixture(scope="module")
def classifier(tiny_model: Path) -> Classifier:
    return load_classifier(tiny_model, device="cpu")


def test_many_files_folders_and_patterns_give_a_record_each_in_order(classifier, tmp_path):
    save_images(tmp_path / "in", 5)
    inputs = [tmp_path / "in", str(tmp_path / "in" / "000[12].png"), tmp_path / "gone.png"]
    records = list(classifier.predict_many(inputs, top_k=2, batch_size=2, num_threads=1))
    names = [Path(record.input).name for record in records]
    assert names == [*(f"{n:04}.png" for n in range(5)), "0001.png", "0002.png", "gone.png"]
    assert [record.status for record in records] == ["ok"] * 7 + ["error"]
    assert {len(record.predictions) for record in records[:-1]} == {2}
    for record in records[:-1]:
        assert record.label == classifier.predict(record.input).label


def test_many_are_taken_as_they_come(classifier, tmp_path):
    path = save_image(tmp_path / "a.png")
    taken: list[int] = []

    def endless():
        while True:
            taken.append(1)
            yield path

    stream = classifier.predict_many(endless(), batch_size=2)
    assert [next(stream).status for _ in range(3)] == ["ok"] * 3
    stream.close()
    assert len(taken) < 100


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (["a.jpg", "b.jpg"], "predict_batch"),
        (("a.jpg",), "predict_many"),
        ({"a.jpg"}, "predict_batch"),
        ((name for name in ["a.jpg"]), "predict_many"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"tensor.permute\(1, 2, 0\).numpy\(\)"),
        (io.BytesIO(b"x"), r"its path, or the bytes that its read\(\) returns"),
        (None, "pass a path"),
        (7, "pass a path"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_image_is_told_what_to_call(classifier, given, advice):
    with pytest.raises(TypeError, match=f"one image expected, not .*{advice}"):
        classifier.predict(given)
    with pytest.raises(TypeError, match="one image expected"):
        classifier.predict_batch([given])


def test_an_open_file_is_told_what_to_pass(classifier, tmp_path):
    with save_image(tmp_path / "a.png").open("rb") as file, pytest.raises(TypeError, match=r"not _io\.Buffered|read"):
        classifier.predict(file)


@pytest.mark.parametrize("given", ["a.jpg", Path("a.jpg"), b"bytes", Image.new("RGB", (1, 1)), io.BytesIO()])
def test_one_image_is_no_list(classifier, given):
    with pytest.raises(TypeError, match=r"takes a list of images, not one .*; call predict for one"):
        classifier.predict_batch(given)


def test_one_array_is_no_list_but_a_stack_of_them_is(classifier):
    stack = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(TypeError, match="call predict for one"):
        classifier.predict_batch(stack[0])
    assert [r.label for r in classifier.predict_batch(stack)] == [classifier.predict(image).label for image in stack]


def test_a_generator_is_for_predict_many(classifier):
    with pytest.raises(TypeError, match="call predict_many"):
        classifier.predict_batch(name for name in ["a.jpg"])


@pytest.mark.parametrize("given", ["a.jpg", Path("a.jpg"), b"a.jpg"])
def test_one_name_is_not_many(classifier, given):
    with pytest.raises(TypeError, match=r"takes several names.* call predict for one image"):
        classifier.predict_many(given)


def test_many_takes_names_only(classifier):
    with pytest.raises(TypeError, match="not ndarray; call predict_batch"):
        list(classifier.predict_many([np.zeros((8, 8, 3), np.uint8)]))
    with pytest.raises(UsageError, match="doesn't read stdin"):
        list(classifier.predict_many(["-"]))


@pytest.mark.parametrize("top_k", [0, -1, 2.5])
def test_top_k_out_of_range_is_said_before_any_work(classifier, top_k):
    for ask in (
        lambda: classifier.predict("gone.jpg", top_k=top_k),
        lambda: classifier.predict_batch(["gone.jpg"], top_k=top_k),
        lambda: classifier.predict_many(["gone.jpg"], top_k=top_k),
    ):
        with pytest.raises(UsageError, match=f"top_k must be a whole number of at least 1, not {top_k}"):
            ask()


@pytest.mark.parametrize("name", ["batch_size", "num_threads"])
def test_other_numbers_too(classifier, name):
    with pytest.raises(UsageError, match=f"{name} must be a whole number of at least 1, not 0"):
        classifier.predict_many(["a.jpg"], **{name: 0})


def test_more_classes_than_there_are_means_all(classifier, tmp_path):
    record = classifier.predict(save_image(tmp_path / "a.png"), top_k=10)
    assert sorted(p.label for p in record.predictions) == sorted(CLASSES)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3), (0, 0)])
def test_an_array_without_pixels_is_no_image(classifier, shape):
    with pytest.raises(ImageError, match="has no pixels") as caught:
        classifier.predict(np.zeros(shape, np.uint8))
    assert caught.value.kind == "not_an_image"


def test_it_names_itself(classifier):
    assert repr(classifier) == f"Classifier({classifier.id}, 3 classes)"
