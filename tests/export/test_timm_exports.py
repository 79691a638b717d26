"""A dozen families of timm's as ONNX, small: the export itself refuses a file whose answers differ."""

from pathlib import Path
from typing import Any

import pytest
import torch

from imgcls.export.onnx import export_onnx
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.heads import heads_of
from imgcls.models.loaded_model import LoadedModel

pytest.importorskip("timm")

SMALL: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet10t": (64, {}),
    "convnext_atto": (64, {"depths": (1, 1, 1, 1)}),
    "vit_tiny_patch16_224": (64, {"img_size": 64, "depth": 1}),
    "swin_tiny_patch4_window7_224": (112, {"img_size": 112, "depths": (1, 1, 1, 1)}),
    "efficientnet_b0": (64, {}),
    "mobilenetv4_conv_small_050": (64, {}),
    "regnetx_002": (64, {}),
    "deit_tiny_distilled_patch16_224": (64, {"img_size": 64, "depth": 1}),
    "beit_base_patch16_224": (64, {"img_size": 64, "depth": 1}),
    "eva02_tiny_patch14_224": (56, {"img_size": 56, "depth": 1}),
    "maxvit_rmlp_pico_rw_256": (128, {"img_size": 128, "depths": (1, 1, 1, 1)}),
    "fastvit_t8": (64, {}),
    "hiera_tiny_224": (224, {"stages": (1, 1, 1, 1)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_family_as_onnx(tmp_path: Path, name: str) -> None:
    px, arguments = SMALL[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build_network(f"timm/{name}", num_classes=5, arguments=arguments).eval()
        # Heads that begin near zero would make all answers alike.
        for head in heads_of(network):
            torch.nn.init.normal_(head.weight)
    model = LoadedModel(
        f"timm/{name}", network, tuple("abcde"), Transform(px, px), "0" * 64, tmp_path / "none.pt", arguments=arguments
    )
    fused = [getattr(layer, "fused_attn", None) for layer in network.modules()]
    report = export_onnx(model, tmp_path / "m.onnx")
    assert [getattr(layer, "fused_attn", None) for layer in network.modules()] == fused
    parity = report.written.parity
    assert parity is not None
    assert parity.top1 == 1
    assert parity.largest_difference < 1e-4
