"""Folders that are no classes never become classes, and what is left out is said."""

from pathlib import Path

import pytest
from labelled_data import write_classes, write_image

from imgcls.datasets.evaluation_data import open_for_evaluation
from imgcls.datasets.opening import Opening, open_dataset
from imgcls.errors import DataError
from imgcls.images.transform import Transform
from imgcls.recipes.loading import load_recipe
from imgcls.training.run import train

TRANSFORM = Transform(8, 8)


def opened(root):
    return open_dataset(str(root), transform=TRANSFORM)


@pytest.mark.parametrize("layout", ["class folders alone", "train and val", "train alone"])
def test_a_run_within_its_own_images_can_be_measured_resumed_and_repeated(tmp_path, monkeypatch, layout):
    from imgcls.evaluation.run import evaluate

    pets = tmp_path / "pets"
    counts = {"cat": 10, "dog": 10}
    for part in {"class folders alone": [""], "train and val": ["train", "val"], "train alone": ["train"]}[layout]:
        write_classes(pets / part, counts)
    for path in (pets / "val").rglob("*.png"):
        write_image(path, seed=int(path.stem) + 1000)
    monkeypatch.chdir(pets)
    recipe = load_recipe(
        assignments=["data.image_px=8"], flags={"data.source": ".", "model.name": "mlp", "train.epochs": 2}
    )
    asked = iter(range(100))
    run = train(recipe, should_stop=lambda: "SIGINT" if next(asked) == 0 else None).run
    (run / "curves.png").write_bytes((next(pets.rglob("*.png"))).read_bytes())
    assert run.absolute().parent == pets / "runs"
    assert train(resume=run).epochs == 2
    assert evaluate(run).trained_on == 0
    again = opened(".")
    assert again.classes == ("cat", "dog")
    (text,) = again.warnings
    assert "1 folder of runs is left out" in text
    assert "'runs'" in text


@pytest.mark.parametrize("beside", ["unlabeled", "extra", "notes"])
def test_a_train_folder_of_classes_is_a_split_whatever_lies_beside_it(tmp_path, beside):
    write_classes(tmp_path / "train", {"a": 5, "b": 5})
    write_image(tmp_path / beside / "0.png")
    data = opened(tmp_path)
    assert data.classes == ("a", "b")
    assert data.warnings == (f"1 folder beside the splits is left out, being neither train, val nor test: {beside!r}",)


def test_a_train_that_holds_images_is_a_class_of_vehicles(tmp_path):
    write_classes(tmp_path, {"car": 3, "train": 3, "ship": 3})
    assert opened(tmp_path).classes == ("car", "ship", "train")


@pytest.mark.parametrize("split", ["test", "val"])
def test_images_without_classes_beside_train_are_no_split(tmp_path, split):
    write_classes(tmp_path / "train", {"a": 10, "b": 10})
    for number in range(4):
        write_image(tmp_path / split / f"{number}.png")
    data = opened(tmp_path)
    assert set(data.splits) == {"train", "val"}
    assert any("holds images without class folders" in text and split in text for text in data.warnings)
    opening = Opening(transform=TRANSFORM)
    assert open_for_evaluation(str(tmp_path), opening=opening, whole=False).images.description.split == "val"
    with pytest.raises(DataError, match="holds images, but not in class folders"):
        open_for_evaluation(str(tmp_path), opening=opening, split=split)


def test_a_study_is_no_class_either(tmp_path):
    write_classes(tmp_path, {"a": 3, "b": 3})
    study = tmp_path / "studies" / "one"
    study.mkdir(parents=True)
    for name in ("recipe.toml", "space.toml"):
        (study / name).touch()
    write_image(study / "trial-1" / "curves.png")
    assert opened(tmp_path).classes == ("a", "b")


def test_a_class_called_runs_stays_one(tmp_path: Path) -> None:
    write_classes(tmp_path, {"runs": 3, "walks": 3})
    assert opened(tmp_path).classes == ("runs", "walks")
