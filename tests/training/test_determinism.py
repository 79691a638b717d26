import os

import pytest
import torch
from tiny_runs import assert_same_metrics, assert_same_weights, recipe_for, stop_after
from torch import nn

from imgcls.errors import ConfigError
from imgcls.training.precision import deterministic_algorithms
from imgcls.training.run import train


def settings():
    cudnn = torch.backends.cudnn
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_settings_hold_within_and_are_given_back(device, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = settings()
    with deterministic_algorithms(torch.device(device)):
        assert settings() == (True, False, True, False, ":4096:8" if device == "cuda" else None)
    assert settings() == before
    with pytest.raises(ZeroDivisionError), deterministic_algorithms(torch.device(device)):
        _ = 1 / 0
    assert settings() == before
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic_algorithms(torch.device("cuda")):
        assert settings()[-1] == ":16:8"
    assert settings()[-1] == ":16:8"


def test_an_operation_without_such_an_algorithm_is_named():
    with (
        pytest.raises(ConfigError, match=r"train\.deterministic: put_ of this network") as caught,
        deterministic_algorithms(torch.device("cpu")),
    ):
        torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))
    assert "--deterministic" in caught.value.hint
    with pytest.raises(RuntimeError, match="shape"), deterministic_algorithms(torch.device("cpu")):
        nn.Linear(2, 3)(torch.zeros(1, 5))


def test_a_deterministic_run_leaves_the_process_as_it_was_and_resumes(photos, tmp_path):
    before = settings()
    recipe = recipe_for(photos, "train.deterministic=true")
    inside = []
    train(recipe, output=tmp_path / "whole", on_event=lambda event: inside.append(settings()[0]))
    assert all(inside)
    assert settings() == before
    train(recipe, output=tmp_path / "cut", should_stop=stop_after(4))
    train(resume=tmp_path / "cut")
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "auto", "fp16"])
def test_on_a_gpu_a_deterministic_run_resumes_bit_for_bit(photos, tmp_path, precision):
    recipe = recipe_for(
        photos,
        "train.deterministic=true",
        f"train.precision={precision}",
        "augment.cutout_px=2",
        "augment.mixup=0.2",
        "augment.policy=trivialaugment",
        "augment.erasing=0.5",
        "train.ema_decay=0.9",
        "optim.name=muon",
        "optim.grad_clip=1",
    )
    device = torch.accelerator.current_accelerator().type
    train(recipe, output=tmp_path / "whole", device=device)
    train(recipe, output=tmp_path / "cut", device=device, should_stop=stop_after(4))
    train(resume=tmp_path / "cut", device=device)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert_same_metrics(tmp_path / "whole", tmp_path / "cut")
