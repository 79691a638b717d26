import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_runs import assert_same_metrics, assert_same_weights, recipe_for, stop_after
from torch import nn

import imgcls
from imgcls.errors import ConfigError
from imgcls.models.checkpoint import load_checkpoint
from imgcls.training.compiling import CompiledNetwork, check_compiler, compiled_sizes
from imgcls.training.run import train

ROOT = Path(imgcls.__file__).parents[1]
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("batch_size", "portions", "sizes"), [(256, 1, {256}), (256, 2, {128}), (256, 3, {86, 85}), (8, 3, {3, 2})]
)
def test_full_portions_are_compiled(batch_size, portions, sizes):
    assert compiled_sizes(batch_size, portions) == sizes
    assert {len(part) for part in torch.zeros(batch_size).tensor_split(portions)} == sizes


def test_other_sizes_run_as_they_are(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network, *, dynamic: lambda inputs: network(inputs) + 1)
    network = nn.Linear(2, 3)
    compiled = CompiledNetwork(network, frozenset({8}))
    for size, added in ((5, 0), (8, 1)):
        inputs = torch.randn(size, 2)
        assert torch.equal(compiled(inputs), network(inputs) + added)


def test_too_many_sizes_are_refused(photos):
    with pytest.raises(ConfigError, match="would compile 5 sizes"):
        check_compiler(CPU, num_sizes=5)
    settings = ("train.compile=true", "train.batch_size=7", "train.accumulate=2", "data.image_px=16")
    with pytest.raises(ConfigError, match="would compile 6 sizes"):
        train(recipe_for(photos, *settings, "train.resolution=[[0.4, 8], [0.5, 12]]"))


@pytest.mark.slow
def test_a_compiled_run_resumes_exactly_and_stores_plain_weights(photos, tmp_path):
    settings = ("model.name=mlp", "model.arguments={hidden=[8]}", "train.ema_decay=0.8", "train.precision=fp32")
    plain = recipe_for(photos, *settings)
    recipe = recipe_for(photos, *settings, "train.compile=true")
    train(plain, output=tmp_path / "plain")
    train(recipe, output=tmp_path / "whole")
    assert train(recipe, output=tmp_path / "cut", should_stop=stop_after(4)).stopped == "SIGINT"
    torch.compiler.reset()
    train(resume=tmp_path / "cut")
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert_same_metrics(tmp_path / "whole", tmp_path / "cut")
    expected, found = (load_checkpoint(tmp_path / run / "last.pt").weights for run in ("plain", "whole"))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-3, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows finds its compiler otherwise")
def test_without_a_compiler_the_error_says_what_to_install(photos, tmp_path):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": str(tmp_path),
        "CXX": str(tmp_path / "no-such-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    arguments = ["train", "--data", str(photos), "-o", str(tmp_path / "run"), "--set", "train.compile=true"]
    arguments += ["--device", "cpu", "--set", "data.image_px=8"]
    command = [sys.executable, "-m", "imgcls", *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 7, result.stderr
    assert "torch can't compile anything for cpu" in result.stderr
    assert "apt install g++" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()
