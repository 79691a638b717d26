"""Checkpoints: what goes in comes out, and whatever else is in a file is refused in words."""

import dataclasses
import pickle
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from imgcls.errors import ExitCode, ModelError, OutputError
from imgcls.host.tensor_files import load_tensors
from imgcls.images.transform import Transform
from imgcls.models.checkpoint import FORMAT_VERSION, PLAIN_VERSION, Checkpoint, load_checkpoint, save_checkpoint


def example(**changes) -> Checkpoint:
    weights = {"layers.1.weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}
    checkpoint = Checkpoint(
        model_name="mlp",
        model_arguments={"image_px": 4, "hidden": [3]},
        classes=("cat", "Hund", "猫"),
        transform=Transform(4, 4, interpolation="bicubic"),
        weights=weights,
        metrics={"top1": 0.5},
        recipe={"optim": {"learning_rate": 0.1}},
    )
    return dataclasses.replace(checkpoint, **changes)


def content_of(path):
    return torch.load(path, weights_only=True)


class RunsCode:
    """Unpickled freely, it would make a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return (Path.touch, (self.proof,))


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "best.pt"
    saved = example(resume={"epoch": 3, "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}}})
    save_checkpoint(saved, path)
    loaded = load_checkpoint(path)
    assert_close(loaded.weights, saved.weights, rtol=0, atol=0)
    assert_close(loaded.resume, saved.resume, rtol=0, atol=0)
    for field in ("model_name", "model_arguments", "classes", "transform", "metrics", "recipe", "versions"):
        assert getattr(loaded, field) == getattr(saved, field), field
    assert loaded.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_loads_with_weights_only_and_has_its_documented_keys(tmp_path):
    save_checkpoint(example(), tmp_path / "best.pt")
    content = content_of(tmp_path / "best.pt")
    assert list(content) == [
        "format_version", "model", "classes", "transform", "weights", "metrics", "recipe", "versions",
    ]  # fmt: skip
    # What versions without several labels read as well.
    assert content["format_version"] == PLAIN_VERSION


def test_a_view_is_saved_without_what_lies_around_it(tmp_path):
    save_checkpoint(example(weights={"w": torch.zeros(1_000_000)[::100_000]}), tmp_path / "best.pt")
    assert (tmp_path / "best.pt").stat().st_size < 100_000
    save_checkpoint(example(weights={"w": torch.zeros(1_000_000)[:10]}), tmp_path / "best.pt")
    assert (tmp_path / "best.pt").stat().st_size < 100_000


def test_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "best.pt"
    save_checkpoint(example(), path)
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(example(recipe={"function": lambda: 1}), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't write"):
        save_checkpoint(example(), tmp_path / "file" / "best.pt")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk():
    with pytest.raises(OutputError, match="can't write /dev/full"):
        save_checkpoint(example(), Path("/dev/full"))


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, "2", None, 0, True])
def test_other_format_version(tmp_path, version):
    path = tmp_path / "best.pt"
    save_checkpoint(example(), path)
    torch.save({**content_of(path), "format_version": version}, path)
    with pytest.raises(ModelError, match=f"checkpoint format {version!r}") as caught:
        load_checkpoint(path)
    assert caught.value.exit_code == ExitCode.MODEL


@pytest.mark.parametrize("key", ["model", "classes", "transform", "weights"])
def test_missing_key(tmp_path, key):
    path = tmp_path / "best.pt"
    save_checkpoint(example(), path)
    content = content_of(path)
    del content[key]
    torch.save(content, path)
    with pytest.raises(ModelError, match=rf"best\.pt lacks {key}"):
        load_checkpoint(path)


@pytest.mark.parametrize("key", ["metrics", "recipe", "versions"])
def test_keys_that_may_be_missing(tmp_path, key):
    path = tmp_path / "best.pt"
    save_checkpoint(example(), path)
    content = content_of(path)
    del content[key]
    torch.save(content, path)
    assert getattr(load_checkpoint(path), key) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"model": "mlp"},
        {"model": {"name": "mlp"}},
        {"model": {"name": 3, "arguments": {}}},
        {"classes": 10},
        {"classes": []},
        {"classes": "cat"},
        {"classes": ["cat", 3]},
        {"classes": ["cat", "cat"]},
        {"transform": None},
        {"transform": {"resize_px": 3}},
        {"weights": [torch.ones(1)]},
        {"weights": {"a": 1.0}},
        {"weights": {}},
        {"metrics": 3},
    ],
    ids=str,
)
def test_damaged_values(tmp_path, change):
    path = tmp_path / "best.pt"
    save_checkpoint(example(), path)
    torch.save({**content_of(path), **change}, path)
    with pytest.raises(ModelError, match=r"best\.pt"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [{"weights": torch.ones(2)}, torch.ones(2), [1, 2], {}], ids=str)
def test_not_a_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(ModelError, match="is not a checkpoint of imgcls") as caught:
        load_checkpoint(tmp_path / "file.pth")
    assert "--weights" in caught.value.hint


@pytest.mark.parametrize("kept", [0, 1, 100, 1000, 0.5, 0.99])
@pytest.mark.parametrize("legacy", [False, True])
def test_truncated(tmp_path, kept, legacy):
    path = tmp_path / "best.pt"
    save_checkpoint(example(weights={"w": torch.rand(2000)}), path)
    if legacy:
        torch.save(content_of(path), path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(len(whole) * kept)])
    with pytest.raises(ModelError, match=r"best\.pt") as caught:
        load_checkpoint(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "content", [b"just text\n" * 100, b"PK\x03\x04" + bytes(500), b"\x80\x02", bytes(100), b"\x89PNG\r\n"]
)
def test_something_else_altogether(tmp_path, content):
    (tmp_path / "notes.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"notes\.pt") as caught:
        load_checkpoint(tmp_path / "notes.pt")
    assert "\n" not in caught.value.message


def test_damaged_text_file_is_not_called_dangerous(tmp_path):
    (tmp_path / "notes.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match="can't be read"):
        load_tensors(tmp_path / "notes.pt")


@pytest.mark.parametrize("path", ["none.pt", "."])
def test_missing_file(tmp_path, path):
    with pytest.raises(ModelError, match="no such weights file"):
        load_tensors(tmp_path / path)


@pytest.mark.parametrize("legacy", [False, True])
def test_legacy_format_is_read(tmp_path, legacy):
    state = {"w": torch.arange(5.0)}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert_close(load_tensors(tmp_path / "w.pth"), state, rtol=0, atol=0)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_never_runs(tmp_path, legacy):
    proof = tmp_path / "proof"
    path = tmp_path / "evil.pt"
    torch.save({"format_version": 1, "weights": RunsCode(proof)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match="it could run code"):
        load_checkpoint(path)
    assert not proof.exists()
    # The same file, opened without care, does run it: the test is a test.
    torch.load(path, weights_only=False)
    assert proof.exists()


def test_code_in_a_plain_pickle_never_runs(tmp_path):
    proof = tmp_path / "proof"
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(RunsCode(proof)))
    with pytest.raises(ModelError, match=r"evil\.pkl"):
        load_tensors(tmp_path / "evil.pkl")
    assert not proof.exists()


def test_whole_network_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "network.pt")
    with pytest.raises(ModelError, match="it could run code") as caught:
        load_tensors(tmp_path / "network.pt")
    assert "state_dict" in caught.value.hint


def test_torchscript_is_refused(tmp_path):
    (tmp_path / "scripted.pt").write_bytes(b"")
    import zipfile

    with zipfile.ZipFile(tmp_path / "scripted.pt", "w") as archive:
        archive.writestr("scripted/constants.pkl", b"")
        archive.writestr("scripted/data.pkl", b"")
        archive.writestr("scripted/version", b"3")
    with pytest.raises(ModelError, match=r"scripted\.pt"):
        load_tensors(tmp_path / "scripted.pt")
