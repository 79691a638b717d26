"""timm's networks and those of the hub, from a server of this machine in the hub's place, beside plain timm scripts."""

import hashlib
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from local_hub import REVISION, random_network
from PIL import Image
from torch.testing import assert_close

from imgcls.errors import ExitCode, ModelError
from imgcls.models.heads import head_name, num_outputs
from imgcls.models.loading import load_model
from imgcls.models.registry import find_checkpoint, is_architecture, list_models, model_names, weights_are_here
from imgcls.models.weights.initial_weights import load_start

timm = pytest.importorskip("timm")

QUICK = ["resnet10t", "test_vit", "mobilenetv4_conv_small_050"]
FAMILIES = [
    *QUICK, "convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "efficientnet_b0", "regnetx_002",
    "deit_tiny_patch16_224", "beit_base_patch16_224", "eva02_tiny_patch14_336.mim_in22k_ft_in1k",
    "maxvit_rmlp_pico_rw_256", "fastvit_t8",
    "hiera_tiny_224",
]  # fmt: skip


@pytest.fixture
def photo() -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (31, 40, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((400, 310), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES])
def test_equal_to_a_plain_timm_script(hub, tmp_path, photo, name):
    theirs = random_network(name)
    hub.publish(theirs.pretrained_cfg["hf_hub_id"], theirs, tmp_path)
    model = load_model(f"timm/{name}")
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=theirs))
    pixels_BCHW = torch.from_numpy(model.transform.crop(photo).copy()).permute(2, 0, 1)[None]
    inputs_BCHW = model.transform.normalise(pixels_BCHW)
    assert_close(inputs_BCHW[0], transform(photo), rtol=0, atol=1e-5)
    with torch.inference_mode():
        assert_close(model.network(inputs_BCHW), theirs(transform(photo)[None]), rtol=0, atol=1e-5)
        assert model.network.bfloat16()(inputs_BCHW.bfloat16()).shape == (1, len(model.classes))
    content = hub.files[f"{theirs.pretrained_cfg['hf_hub_id']}/model.safetensors"]
    assert model.weights_sha256 == hashlib.sha256(content).hexdigest()
    assert model.describe()["weights_revision"] == REVISION
    # A new head is put in as timm does it, and nothing else changes.
    network, origin = load_start(f"timm/{name}", {}, pretrained=f"timm/{name}").network_for(("ant", "bee"))
    assert num_outputs(network) == 2
    assert origin.weights_sha256 == model.weights_sha256
    head = head_name(network)
    for key, value in theirs.state_dict().items():
        if not key.startswith(head):
            assert_close(network.state_dict()[key], value, rtol=0, atol=0)


def test_a_repository_of_the_hub(hub, tmp_path, photo):
    theirs = random_network("test_vit", num_classes=2, img_size=96)
    config = {
        "architecture": "test_vit", "num_classes": 2, "label_names": ["ant", "bee"], "model_args": {"img_size": 96},
        "pretrained_cfg": {"input_size": [3, 96, 96], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 1.0,
                           "interpolation": "bicubic", "crop_mode": "squash", "num_classes": 2},
    }  # fmt: skip
    hub.publish("someone/ants.vit", theirs, tmp_path, config)
    name = "hf-hub:someone/ants.vit"
    assert not (is_architecture(name) and find_checkpoint(name))
    model = load_model(name)
    assert (model.name, model.network_name, model.classes) == (name, "timm/test_vit", ("ant", "bee"))
    assert (model.transform.resize, model.transform.crop_px, model.transform.interpolation) == ("squash", 96, "bicubic")
    pixels_BCHW = torch.from_numpy(model.transform.crop(photo).copy()).permute(2, 0, 1)[None]
    inputs_BCHW = model.transform.normalise(pixels_BCHW)
    with torch.inference_mode():
        assert_close(model.network(inputs_BCHW), theirs(inputs_BCHW), rtol=0, atol=1e-5)
    assert weights_are_here(name)
    # Once here, nothing is asked of the hub; a checkpoint made of it needs neither hub nor cache.
    from imgcls.models.loaded_model import save_loaded

    save_loaded(model, tmp_path / "mine.pt")
    hub.files.clear()
    again = load_model(str(tmp_path / "mine.pt"))
    with torch.inference_mode():
        assert_close(again.network(inputs_BCHW), theirs(inputs_BCHW), rtol=0, atol=1e-5)


def test_offline_the_cache_answers(hub, tmp_path, monkeypatch):
    theirs = random_network("test_vit")
    hub.publish(theirs.pretrained_cfg["hf_hub_id"], theirs, tmp_path)
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    with pytest.raises(ModelError, match="is not here and can't be downloaded") as caught:
        load_model("timm/test_vit")
    assert caught.value.exit_code == ExitCode.MODEL
    assert hub.requests == []
    monkeypatch.delenv("IMGCLS_OFFLINE")
    told: list[tuple[int, int | None]] = []
    path = load_model("timm/test_vit", progress=lambda done, total: told.append((done, total))).weights_path
    assert told[-1] == (path.stat().st_size, path.stat().st_size)
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    asked = len(hub.requests)
    assert load_model("timm/test_vit").weights_path == path
    assert len(hub.requests) == asked
    damaged = path.resolve()
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    with pytest.raises(ModelError, match="is damaged: its SHA-256 is not"):
        load_model("timm/test_vit")


def test_without_a_network_it_says_so_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ModelError, match=r"127\.0\.0\.1 can't be reached: .*refused") as caught:
            load_model("hf-hub:org/name")
    assert "HF_ENDPOINT" in caught.value.hint
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    with pytest.raises(ModelError, match="the host is unknown, or there is no network"):
        load_model("hf-hub:org/name")
    # Nothing of huggingface_hub's own messages.
    assert capsys.readouterr() == ("", "")


def test_a_pickle_is_never_read(hub):
    hub.files["timm/test_vit.r160_in1k/pytorch_model.bin"] = b"a pickle"
    with pytest.raises(ModelError, match=r"has no model\.safetensors") as caught:
        load_model("timm/test_vit")
    assert "safetensors" in caught.value.hint
    assert not any(request.endswith(".bin") for request in hub.requests)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm/convnext_ato", "did you mean|unknown model"),
        ("timm/nothing_like_it", "unknown model 'timm/nothing_like_it'"),
        ("timm/eva02_tiny_patch14_224", "a backbone without classes"),
        ("hf-hub:nobody/nothing", "can't fetch config.json of nobody/nothing"),
        ("hf-hub:someone/odd", "is no model of timm"),
    ],
)
def test_names_that_mean_nothing(hub, name, said):
    hub.files["someone/odd/config.json"] = b'{"architectures": ["BertModel"]}'
    with pytest.raises(ModelError, match=said) as caught:
        load_model(name)
    assert caught.value.hint


def test_the_list_is_asked_for_by_source():
    found = [each.name for each in list_models("convnext_atto*", source="timm")]
    assert found == [f"timm/{name}" for name in timm.list_pretrained("convnext_atto*")]
    assert not any(each.source == "timm" for each in list_models())
    # Completion knows them from then on.
    assert "timm/convnext_atto.d2_in1k" in model_names()


def test_names_are_no_paths_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("timm/resnet18") is None
    assert is_architecture("timm/resnet18")
    Path("timm").mkdir()
    Path("timm/resnet18").touch()
    assert find_checkpoint("timm/resnet18") == Path("timm/resnet18")
