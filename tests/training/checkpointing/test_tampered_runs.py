"""Runs whose files somebody has written to: code 5 or 6 and a line that names the file, never a traceback."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import recipe_for, stop_after

from imgcls.errors import DataError, ModelError
from imgcls.training.run import train


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A run with an EMA that was cut within its second epoch."""
    run = tmp_path_factory.mktemp("cut") / "run"
    recipe = recipe_for(photos, "train.ema_decay=0.9", "train.ema_every=1")
    train(recipe, output=run, device="cpu", should_stop=stop_after(5))
    return run


@pytest.fixture
def run(cut: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cut, tmp_path / "run"))


def loop(content: dict[str, Any]) -> dict[str, Any]:
    return dict(content["resume"]["loop"])


def first_moments(content: dict[str, Any]) -> dict[str, Any]:
    for part in loop(content)["optimisers"]["parts"]:
        for values in part["state"].values():
            for name, value in values.items():
                if isinstance(value, torch.Tensor) and value.ndim:
                    values[name] = torch.zeros(3, 5)
                    return content
    raise AssertionError("no moments")


def changed(*way: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in way[:-1]:
            content = content[key]
        content[way[-1]] = to

    return change


def without(*way: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in way[:-1]:
            content = content[key]
        del content[way[-1]]

    return change


IN_LOOP = ("resume", "loop")
TAMPERED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no state": changed("resume", to={}),
    "no loop": without(*IN_LOOP),
    "a loop that is a list": changed(*IN_LOOP, to=[1]),
    "no position": without(*IN_LOOP, "position"),
    "a negative position": changed(*IN_LOOP, "position", "batch", to=-1),
    "a position in words": changed(*IN_LOOP, "position", "epoch", to="two"),
    "an endless position": changed(*IN_LOOP, "position", "step", to=10**40),
    "a phase that isn't there": changed(*IN_LOOP, "phase", to=7),
    "weights of another shape": changed(*IN_LOOP, "network", to={"head.weight": torch.zeros(9, 9)}),
    "no optimisers": without(*IN_LOOP, "optimisers"),
    "no optimiser among them": changed(*IN_LOOP, "optimisers", "parts", to=[]),
    "moments of another network": first_moments,
    "an EMA of another network": changed(*IN_LOOP, "average", "weights", to={"x": torch.zeros(1)}),
    "no EMA": without(*IN_LOOP, "average"),
    "no count of the EMA": changed(*IN_LOOP, "average", "num_updates", to="many"),
    "a generator's state that is too short": changed(*IN_LOOP, "streams", "augment", to=torch.zeros(3)),
    "a global generator's state that is none": changed(*IN_LOOP, "streams", "global", to={"cpu": 7}),
    "a score that is a tensor": changed("resume", "best", to=torch.zeros(2)),
    "a score in words": changed("resume", "best", to={"epoch": 1, "top1": "high", "loss": 1.0}),
    "a score without an epoch": changed("resume", "last", to={"top1": 1.0}),
    "data that is a number": changed("resume", "data", to=7),
    "weights that are none": changed("weights", to={"x": 1}),
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_last_pt_is_code_6(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = run / "last.pt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"last\.pt") as caught:
        train(resume=run, device="cpu")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600


def test_another_networks_last_pt_is_code_6(run: Path, photos: Path, tmp_path: Path) -> None:
    other = recipe_for(photos, "model.arguments.widths=[6, 6, 6, 6]")
    train(other, output=tmp_path / "other", device="cpu", should_stop=stop_after(5))
    shutil.copy(tmp_path / "other" / "last.pt", run / "last.pt")
    with pytest.raises(ModelError, match="doesn't fit the run"):
        train(resume=run, device="cpu")


BINARY = {
    "binary": b"\x80\x81\xff\n",
    "deep": b"[" * 100_000 + b"\n",
    "no line of ours": b'{"a": 1}\n',
    "an epoch in words": b'{"epoch": "one", "seconds": 1, "train_loss": 1, "loss": null, "top1": null}\n',
}


@pytest.mark.parametrize("content", BINARY.values(), ids=BINARY)
def test_lines_that_are_none_of_ours_are_code_5_and_stay(run: Path, content: bytes) -> None:
    path = run / "metrics.jsonl"
    whole = path.read_bytes() + content
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"metrics\.jsonl is damaged: line 2"):
        train(resume=run, device="cpu")
    assert path.read_bytes() == whole


def test_a_torn_line_at_the_end_is_written_again(run: Path) -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"epoch": 2, "st')
    assert train(resume=run, device="cpu").epochs == 3


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"[]", b'{"test": {"top1": "x"}}', b'{"stopped": 7}'])
def test_compare_refuses_a_damaged_result(imgcls: Any, run: Path, content: bytes) -> None:
    (run / "result.json").write_bytes(content)
    done = imgcls("compare", run)
    assert (done.code, done.stdout) == (5, b"")
    assert "result.json" in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", [b"\xff\x00", b"[" * 100_000, b'{"a": [1]}', b'{"k": 1}', b"[]"])
def test_a_damaged_memory_of_digests_changes_nothing(run: Path, private_home: Path, content: bytes) -> None:
    store = private_home / "imgcls" / "digests.json"
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_bytes(content)
    with contextlib.suppress(FileNotFoundError):
        (run / "result.json").unlink()
    assert train(resume=run, device="cpu").epochs == 3
