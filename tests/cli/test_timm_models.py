"""A model of timm's catalogue through every command, from a server of this machine in the hub's place."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from labelled_data import write_classes
from local_hub import REVISION, Hub, random_network
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.models.checkpoint import load_checkpoint

pytest.importorskip("timm")

NAME = "timm/test_vit"
REPOSITORY = "timm/test_vit.r160_in1k"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def predictions(*arguments: object) -> list[dict[str, float]]:
    records = json.loads(run("predict", *arguments, "-f", "json"))["results"]
    return [{each["label"]: each["probability"] for each in record["predictions"]} for record in records]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "photos", {"ant": 6, "bee": 6})


@pytest.fixture
def published(hub: Hub, tmp_path: Path) -> str:
    """The SHA-256 of the weights on the hub."""
    hub.publish(REPOSITORY, random_network("test_vit"), tmp_path)
    return hashlib.sha256(hub.files[f"{REPOSITORY}/model.safetensors"]).hexdigest()


def test_predict_and_its_exports_answer_alike_and_name_the_revision(published: str, photos: Path) -> None:
    answer = json.loads(run("predict", photos, "-m", NAME, "-f", "json"))
    assert answer["model"]["weights_revision"] == REVISION
    assert answer["model"]["weights_sha256"] == published
    run("export", NAME, "-o", photos.with_name("m.pt"), "--to", "checkpoint")
    assert load_checkpoint(photos.with_name("m.pt")).start["weights_revision"] == REVISION
    report = json.loads(run("export", NAME, "-o", photos.with_name("m.onnx"), "-f", "json"))
    assert report["model"]["weights_revision"] == REVISION
    exported = json.loads(run("predict", photos, "-m", photos.with_name("m.onnx"), "-f", "json"))["model"]
    assert exported["weights_revision"] == REVISION
    expected = predictions(photos, "-m", NAME)
    assert predictions(photos, "-m", photos.with_name("m.pt")) == expected
    for found, wanted in zip(predictions(photos, "-m", photos.with_name("m.onnx")), expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    "options", [("--freeze",), pytest.param(("--set", "finetune.body_lr_factor=0.1"), marks=pytest.mark.slow)]
)
def test_trained_on_it_goes_through_every_command(published: str, photos: Path, options: tuple[str, ...]) -> None:
    folder = photos.with_name("run")
    result = json.loads(run("train", "-m", NAME, "--pretrained", "--data", photos, "--epochs", 1, *options,
                            "-o", folder, "-f", "json"))  # fmt: skip
    origin = {"weights_sha256": published, "weights_revision": REVISION, "kept_head": False}
    assert origin.items() <= result["start"].items()
    best = load_checkpoint(folder / "best.pt")
    assert (best.model_name, best.classes, best.start) == (NAME, ("ant", "bee"), result["start"])
    # The hub's own transform of 160 px.
    assert (best.transform.crop_px, best.transform.interpolation) == (160, "bicubic")
    report = json.loads(run("eval", folder, "--data", photos, "--split", "val", "-f", "json"))
    assert report["correct"] == best.metrics["correct"]
    run("export", folder, "-o", photos.with_name("run.onnx"))
    for one, other in zip(
        predictions(photos, "-m", folder), predictions(photos, "-m", photos.with_name("run.onnx")), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-5)
    run("train", "--resume", folder)


def test_a_distilled_network_with_a_frozen_backbone_learns_by_both_heads(
    hub: Hub, photos: Path, tmp_path: Path
) -> None:
    network = random_network("deit_tiny_distilled_patch16_224", img_size=32, depth=1)
    torch.save(network.state_dict(), tmp_path / "deit.pth")
    best = {}
    for name, epochs in (("short", 1), ("long", 15)):
        arguments = ("--set", "model.arguments={img_size=32, depth=1}", "--set", "data.image_px=32")
        run("train", "-m", "timm/deit_tiny_distilled_patch16_224", "--weights", tmp_path / "deit.pth", "--freeze",
            "--data", photos, "--epochs", epochs, "--lr", 0.01, *arguments, "-o", tmp_path / name)  # fmt: skip
        best[name] = load_checkpoint(tmp_path / name / "last.pt").weights
    moved = {key for key, value in best["short"].items() if not torch.equal(value, best["long"][key])}
    assert moved == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
    report = json.loads(run("eval", tmp_path / "long", "--data", photos, "--split", "val", "-f", "json"))
    assert report["top1"] == 1


def test_hf_hub_offline_is_heeded(published: str, hub: Hub, photos: Path) -> None:
    image = photos / "ant" / "000.png"

    def start(**variables: str) -> "subprocess.CompletedProcess[str]":
        command = (sys.executable, "-m", "imgcls", "predict", str(image), "-m", NAME, "-f", "jsonl")
        here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **variables}
        return subprocess.run(command, env=here, capture_output=True, text=True, check=False)

    refused = start(HF_HUB_OFFLINE="1")
    assert (refused.returncode, refused.stdout, hub.requests) == (6, "", [])
    assert "HF_HUB_OFFLINE" in refused.stderr
    fetched = start()
    assert fetched.returncode == 0, fetched.stderr
    asked = len(hub.requests)
    offline = start(HF_HUB_OFFLINE="1")
    assert (offline.returncode, offline.stdout, len(hub.requests)) == (0, fetched.stdout, asked)


@pytest.mark.parametrize("name", [REPOSITORY, NAME])
def test_fetched_ahead_its_size_is_told_and_then_it_is_here(name: str, published: str, hub: Hub) -> None:
    result = CliRunner().invoke(app, ["models", "--fetch", name, "-f", "json"])
    assert result.exit_code == 0, result.output
    size_mib = len(hub.files[f"{REPOSITORY}/model.safetensors"]) / 2**20
    assert f"downloading the weights of {name} ({size_mib:.0f} MiB)" in result.stderr
    (listed,) = json.loads(result.stdout)["models"]
    assert (listed["name"], listed["weights"]) == (name, "here")
    assert hashlib.sha256(Path(listed["path"]).read_bytes()).hexdigest() == published


def test_the_catalogue_is_listed_by_pattern() -> None:
    import timm

    listed = json.loads(run("models", "--source", "timm", "convnext_at*", "-f", "json"))["models"]
    assert [each["name"] for each in listed] == [f"timm/{name}" for name in timm.list_pretrained("convnext_at*")]
    assert {each["source"] for each in listed} == {"timm"}
    assert run("models", "timm/convnext_at*").splitlines()[1].startswith("timm/convnext_at")


def test_without_a_network_a_repository_is_one_error(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        result = subprocess.run(
            (sys.executable, "-m", "imgcls", "predict", str(tmp_path), "-m", "hf-hub:org/name", "-f", "jsonl"),
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "HF_ENDPOINT": endpoint,
                "HF_HUB_CACHE": str(tmp_path),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert (result.returncode, result.stdout) == (6, "")
    error, hint = result.stderr.splitlines()
    assert "127.0.0.1 can't be reached" in error
    assert "HF_ENDPOINT" in hint


def test_damage_under_the_same_size_and_time_is_noticed(published: str, photos: Path) -> None:
    (listed,) = json.loads(run("models", "--fetch", NAME, "-f", "json"))["models"]
    assert run("predict", photos, "-m", NAME, "-f", "json")
    file = Path(listed["path"]).resolve()
    content, status = file.read_bytes(), file.stat()
    file.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    for command in (("predict", photos, "-m", NAME), ("models", NAME, "--verify")):
        result = CliRunner().invoke(app, [*map(str, command)])
        assert result.exit_code == 6, result.output
        assert "damaged" in result.stderr
