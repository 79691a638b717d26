"""`--weights` with `--labels` in every command, and a checkpoint of ours made of them."""

import json
from pathlib import Path

import pytest
import torch
import torchvision.models
from labelled_data import write_classes
from typer.testing import CliRunner

from imgcls.cli.app import app

CLASSES = ("ant", "bee", "wasp")
NAME = "mobilenet_v3_small"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as the tutorial saves a fine-tuned network, wrapped by DataParallel, and the names of its classes."""
    folder = tmp_path_factory.mktemp("files")
    with torch.random.fork_rng():
        torch.manual_seed(6)
        network = torchvision.models.get_model(NAME, weights=None)
        network.classifier[-1] = torch.nn.Linear(1024, len(CLASSES))
    torch.save({"state_dict": torch.nn.DataParallel(network).state_dict()}, folder / "w.pth")
    (folder / "labels.json").write_text(json.dumps(dict(enumerate(CLASSES))))
    return folder


def test_predict_eval_and_export_answer_alike(files: Path, tmp_path: Path) -> None:
    from PIL import Image

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(app, [*map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.stdout

    for label in CLASSES:
        (tmp_path / "data" / label).mkdir(parents=True)
        Image.new("RGB", (40, 30), label_colour(label)).save(tmp_path / "data" / label / "1.png")
    image = tmp_path / "data" / "bee" / "1.png"
    options = ("--weights", files / "w.pth", "--labels", files / "labels.json")
    record = json.loads(run("predict", image, "-m", NAME, *options, "-f", "jsonl"))
    assert {each["label"] for each in record["predictions"]} == set(CLASSES)
    report = json.loads(run("eval", "-m", NAME, *options, "--data", tmp_path / "data", "-f", "json"))
    assert [each["label"] for each in report["classes"]] == list(CLASSES)
    run("export", NAME, *options, "-o", tmp_path / "mine.pt", "--to", "checkpoint")
    # The checkpoint needs no other file and no option.
    again = json.loads(run("predict", image, "-m", tmp_path / "mine.pt", "-f", "jsonl"))
    assert again["predictions"] == record["predictions"]


def label_colour(label: str) -> str:
    return {"ant": "black", "bee": "yellow", "wasp": "orange"}[label]


def test_without_names_the_command_says_what_is_missing(files: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["predict", "x.jpg", "-m", NAME, "--weights", str(files / "w.pth")])
    assert (result.exit_code, result.stdout) == (6, "")
    assert "has 3 classes" in result.stderr
    assert "--labels FILE" in result.stderr


def test_names_without_weights_are_refused(files: Path) -> None:
    result = CliRunner().invoke(app, ["predict", "x.jpg", "-m", "alexnet", "--labels", str(files / "labels.json")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--labels goes with --weights" in result.stderr


def test_the_default_model_can_be_another(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Path(__file__).parents[2] / "examples" / "ship.jpg"
    monkeypatch.setenv("IMGCLS_MODEL", "cifar10-cnn")
    result = CliRunner().invoke(app, ["predict", str(image), "-f", "jsonl"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["model"].startswith("cifar10-cnn@")


def test_training_goes_on_from_weights_with_names_and_keeps_the_head(files: Path, tmp_path: Path) -> None:
    from imgcls.models.checkpoint import load_checkpoint

    # The data's order is another one: it is the names that count.
    (tmp_path / "names.txt").write_text("wasp\nant\nbee\n")
    data = write_classes(tmp_path / "data", dict.fromkeys(CLASSES, 4))
    weights = torch.load(files / "w.pth", weights_only=True)["state_dict"]
    weights["module.total_ops"] = torch.zeros(1)
    other = {key: value + 1 if value.is_floating_point() else value for key, value in weights.items()}
    torch.save({"state_dict": weights, "state_dict_ema": other}, tmp_path / "w.pth")

    def train(*arguments: object) -> tuple[int, str, Path]:
        run = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        result = CliRunner().invoke(app, [*map(str, ("train", "-m", NAME, "--weights", tmp_path / "w.pth", "--data",
            data, "--epochs", 1, "--lr", 1e-9, "--set", "data.image_px=32", "-o", run, *arguments))])  # fmt: skip
        return result.exit_code, result.output, run

    code, said, run = train("--labels", tmp_path / "names.txt", "-v")
    assert code == 0, said
    for text in ("with its head", "'module.' stripped from the names", "left out: module.total_ops", "--ema takes"):
        assert text in said
    kept = load_checkpoint(run / "best.pt")
    assert kept.classes == CLASSES
    head = weights["module.classifier.3.weight"]
    torch.testing.assert_close(kept.weights["classifier.3.weight"], head[[1, 2, 0]], rtol=0, atol=1e-6)
    code, said, run = train("--labels", tmp_path / "names.txt", "--ema")
    assert code == 0, said
    assert "stripped from the names" not in said
    averaged = load_checkpoint(run / "best.pt").weights["classifier.3.weight"]
    torch.testing.assert_close(averaged, 1 + head[[1, 2, 0]], rtol=0, atol=1e-6)
    (tmp_path / "names.txt").write_text("ant\nbee\n")
    code, said, run = train("--labels", tmp_path / "names.txt")
    assert (code, run.exists()) == (3, False)
    assert "has 3 classes, and" in said


@pytest.mark.parametrize(
    "arguments", [("--labels", "names.txt"), ("--ema",), ("-m", "cifar10-cnn", "--ema")], ids=" ".join
)
def test_train_is_told_names_and_ema_of_plain_weights_only(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["train", "--data", str(tmp_path), *arguments])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "is for a file of plain weights" in result.stderr
    assert "--weights FILE" in result.stderr
