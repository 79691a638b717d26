"""Checkpoints that are damaged or mean harm: refused with code 6, before they cost anything."""

import pytest
import torch

from imgcls.errors import ExitCode, ModelError
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.loading import load_model

ARGUMENTS = {"widths": [4, 6], "depth": 1}


def content(**changes):
    return {
        "format_version": 1,
        "model": {"name": "cnn", "arguments": ARGUMENTS},
        "classes": ["ant", "bee"],
        "transform": Transform(16, 16).to_dict(),
        "weights": dict(build_network("cnn", num_classes=2, arguments=ARGUMENTS).state_dict()),
        **changes,
    }


def with_tensor(tensor):
    return {"weights": {**content()["weights"], "head.bias": tensor}}


def built(name="cnn", **arguments):
    return {"model": {"name": name, "arguments": arguments}}


HOSTILE = {
    "no widths": built(widths=[]),
    "a million widths": built(widths=[4] * 1_000_000),
    "endless depth": built(widths=[4], depth=10**9),
    "no depth": built(widths=[4], depth=0),
    "negative width": built(widths=[-4]),
    "a width that is no number": built(widths=["4"]),
    "widths as a number": built(widths=4),
    "an endless perceptron": built("mlp", hidden=[8] * 100_000),
    "an image as large as a city": built("mlp", image_px=10**12),
    "blocks repeated for ever": built("mobilenet_v2", inverted_residual_setting=[[1, 16, 10**9, 1]]),
    "unknown argument": built(nothing=1),
    "integer keys": {"weights": {1: torch.ones(1)}},
    "complex": with_tensor(torch.ones(2, dtype=torch.complex64)),
    "sparse": with_tensor(torch.ones(2).to_sparse()),
    "meta": with_tensor(torch.ones(2, device="meta")),
    "far larger than its memory": with_tensor(torch.ones(1).expand(1 << 20, 1 << 10)),
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_refused(tmp_path, changes):
    torch.save(content(**changes), tmp_path / "best.pt")
    with pytest.raises(ModelError) as caught:
        load_model(str(tmp_path / "best.pt"))
    assert caught.value.exit_code == ExitCode.MODEL
    assert len(caught.value.message) < 600


def test_odd_strides_answer_alike(tmp_path):
    torch.save(content(), tmp_path / "plain.pt")
    weights = torch.load(tmp_path / "plain.pt", weights_only=True)["weights"]
    turned = {key: value.mT.contiguous().mT if value.ndim > 1 else value for key, value in weights.items()}
    torch.save(content(weights=turned), tmp_path / "turned.pt")
    network = load_model(str(tmp_path / "turned.pt")).network
    assert all(parameter.is_contiguous() or parameter.ndim == 4 for parameter in network.parameters())
    for key, value in load_model(str(tmp_path / "plain.pt")).network.state_dict().items():
        assert torch.equal(network.state_dict()[key], value)
