import pytest
import torch
from torch import nn

from imgcls.errors import ConfigError
from imgcls.models.building import build_network, build_unallocated
from imgcls.models.heads import backbone_parameters, head_name
from imgcls.models.layer_groups import layer_distances
from imgcls.recipes.optimization import OptimSettings, ScheduleSettings
from imgcls.training.optimization.lr_schedule import rate_factor
from imgcls.training.optimization.optimizer import Optimisers
from imgcls.training.optimization.weight_matrices import as_matrix, weight_matrices


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


def backward(network):
    images = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    network(images).square().mean().backward()


@pytest.mark.parametrize(("total", "warmup"), [(5, 0.5), (20, 0.2), (101, 0.2), (101, 0.5)])
def test_one_cycle_is_torchs(total, warmup):
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=1.0, total_steps=total, pct_start=warmup, cycle_momentum=False
    )
    schedule = ScheduleSettings(shape="one-cycle", warmup=warmup)
    for step in range(total):
        assert rate_factor(step, total, schedule) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-12)
        optimiser.step()
        if step + 1 < total:
            theirs.step()


def test_linear_and_cosine_by_hand():
    linear = ScheduleSettings(shape="linear", warmup=0.2, final=0.1)
    assert [rate_factor(step, 10, linear) for step in (0, 1, 2, 6)] == pytest.approx([0.5, 1.0, 1.0, 0.55])
    cosine = ScheduleSettings(shape="cosine", warmup=0.0)
    assert [rate_factor(step, 4, cosine) for step in (0, 2)] == pytest.approx([1.0, 0.5])


def test_steps_are_torchs():
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones=[10, 15], gamma=0.1)
    schedule = ScheduleSettings(shape="step", warmup=0.0)
    for step in range(20):
        assert rate_factor(step, 20, schedule) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12)
        optimiser.step()
        theirs.step()
    warm = ScheduleSettings(shape="step", warmup=0.2, milestones=(0.6,), factor=0.25)
    assert [rate_factor(step, 10, warm) for step in (0, 1, 5, 6, 9)] == pytest.approx([0.5, 1, 1, 0.25, 0.25])


@pytest.mark.parametrize("shape", ["one-cycle", "cosine", "linear", "step", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("total", [1, 2, 3, 50])
def test_every_step_moves_and_none_beyond_the_peak(shape, warmup, total):
    schedule = ScheduleSettings(shape=shape, warmup=warmup)
    factors = [rate_factor(step, total, schedule) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_norms_and_biases_do_not_decay(name):
    optimisers = Optimisers(small_network(), OptimSettings(name=name, weight_decay=0.3))
    decays = {p.ndim >= 2: group["weight_decay"] for group in optimisers.parts[0].param_groups for p in group["params"]}
    assert decays == {True: 0.3, False: 0.0}


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_every_weight_moves_at_the_rate_set(name):
    network = small_network()
    optimisers = Optimisers(network, OptimSettings(name=name, lr=0.1))
    before = [p.detach().clone() for p in network.parameters()]
    backward(network)
    optimisers.set_rate(0.5)
    assert optimisers.rate == pytest.approx(0.05)
    optimisers.step()
    assert all(p.grad is None for p in network.parameters())
    assert all(not torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True))


# Of one design each, so that as many weights decay in torchvision's build as in timm's.
SAME_DESIGN = {
    "resnet18": "resnet18",
    "convnext_tiny": "convnext_tiny",
    "vit_b_32": "vit_base_patch32_224",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
}


def network_on_meta(name):
    return build_unallocated(name, num_classes=7).to("meta")


def muon_weights(optimisers):
    return [
        p for part in optimisers.parts if isinstance(part, torch.optim.Muon) for p in part.param_groups[0]["params"]
    ]


@pytest.mark.parametrize("name", SAME_DESIGN)
def test_what_decays_is_what_decays_in_timm(name):
    timm = pytest.importorskip("timm")
    from timm.optim import param_groups_weight_decay

    with torch.device("meta"):
        theirs = timm.create_model(SAME_DESIGN[name], num_classes=7)
    no_decay = theirs.no_weight_decay() if hasattr(theirs, "no_weight_decay") else ()
    groups = param_groups_weight_decay(theirs, 0.3, no_weight_decay_list=no_decay)
    wanted = {group["weight_decay"]: sum(p.numel() for p in group["params"]) for group in groups}
    assert sum(p.numel() for p in weight_matrices(network_on_meta(name))) == wanted[0.3]
    # A network of timm's own says so itself, be it within another module.
    wrapped = nn.Sequential(theirs)
    assert sum(p.numel() for p in weight_matrices(wrapped)) == wanted[0.3]


@pytest.mark.parametrize("name", [*SAME_DESIGN, "maxvit_t"])
def test_muon_and_weight_decay_leave_scales_tokens_and_tables_alone(name):
    network = network_on_meta(name)
    apart = {
        id(parameter): path
        for path, parameter in network.named_parameters()
        if path.endswith(("layer_scale", "class_token", "pos_embedding", "bias_table", "logit_scale"))
    }
    assert bool(apart) == (name != "resnet18")
    for part in Optimisers(network, OptimSettings(name="adamw", weight_decay=0.3)).parts:
        assert not [apart[id(p)] for g in part.param_groups if g["weight_decay"] for p in g["params"] if id(p) in apart]
    head = network.get_submodule(head_name(network)).weight
    hidden = [p for p in weight_matrices(network) if p is not head]
    matrices = muon_weights(Optimisers(network.to_empty(device="cpu"), OptimSettings(name="muon")))
    assert [len(m) for m in matrices] == [len(p) for p in hidden]


def test_a_run_of_an_earlier_version_goes_on_with_its_own_groups():
    network = build_network("convnext_tiny", num_classes=2)
    settings = OptimSettings(name="adamw", weight_decay=0.3)
    earlier = torch.optim.AdamW(
        [
            {"params": [p for p in network.parameters() if p.ndim >= 2], "weight_decay": 0.3},
            {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
    )
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    earlier.step()
    optimisers = Optimisers(network, settings)
    optimisers.load_state_dict({"parts": [earlier.state_dict()]})
    (part,) = optimisers.parts
    assert [len(g["params"]) for g in part.param_groups] == [len(g["params"]) for g in earlier.param_groups]
    for mine, theirs in zip(part.param_groups, earlier.param_groups, strict=True):
        assert all(a is b for a, b in zip(mine["params"], theirs["params"], strict=True))
    # What it saves is read back the same way.
    again = Optimisers(network, settings)
    again.load_state_dict(optimisers.state_dict())
    assert again.state_dict()["parts"][0]["param_groups"] == optimisers.state_dict()["parts"][0]["param_groups"]


@pytest.mark.parametrize("where", ["hidden", "rest"])
@pytest.mark.parametrize("max_norm", [0.0, 1.0])
def test_with_a_scaled_loss_both_optimisers_step_or_neither(where, max_norm):
    network = small_network()
    optimisers = Optimisers(network, OptimSettings(name="muon", lr=0.1))
    assert len(optimisers.parts) == 2
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)

    def step(spoil):
        before = [p.detach().clone() for p in network.parameters()]
        images = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))
        scaler.scale(network(images).square().mean()).backward()
        if spoil:
            (network[0] if where == "hidden" else network[5]).weight.grad.view(-1)[0] = torch.inf
        optimisers.step(max_norm=max_norm, scaler=scaler)
        return [not torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True)]

    assert step(spoil=True) == [False] * 5
    assert scaler.get_scale() == 2.0
    assert step(spoil=False) == [True] * 5


def test_frozen_weights_stay():
    network = small_network()
    network[0].weight.requires_grad_(False)
    before = network[0].weight.clone()
    optimisers = Optimisers(network, OptimSettings(name="sgd", lr=0.1))
    backward(network)
    optimisers.step()
    assert torch.equal(network[0].weight, before)


def test_muon_moves_filters_alike_in_both_memory_formats():
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        network = small_network().to(memory_format=memory_format)
        optimisers = Optimisers(network, OptimSettings(name="muon", lr=0.1))
        backward(network)
        optimisers.step()
        results.append(network[0].weight.detach().contiguous())
    # Muon works in bfloat16 inside, and sums in another order.
    torch.testing.assert_close(results[0], results[1], atol=2e-3, rtol=0)


def test_a_matrix_shares_its_memory_with_the_filters():
    filters = nn.Parameter(torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last))
    as_matrix(filters).data.zero_()
    assert not filters.any()


@pytest.mark.parametrize(
    ("name", "named"),
    [("vit_tiny_patch16_224", "cls_token"), ("convnext_atto", "head.norm.weight"), ("efficientnet_lite0", "bn2.bias")],
)
def test_layer_decay_is_timms_own(name, named):
    timm = pytest.importorskip("timm")
    from timm.optim import param_groups_layer_decay

    network = timm.create_model(name, num_classes=3)
    theirs = {
        id(parameter): group["lr_scale"]
        for group in param_groups_layer_decay(network, layer_decay=0.7)
        for parameter in group["params"]
    }
    optimisers = Optimisers(network, OptimSettings(lr=0.5), layer_decay=0.7)
    found = {id(p): group["lr"] for part in optimisers.parts for group in part.param_groups for p in group["params"]}
    assert found.keys() == theirs.keys()
    assert id(network.get_parameter(named)) in found
    assert all(found[key] == pytest.approx(0.5 * theirs[key]) for key in found)


@pytest.mark.parametrize(
    ("name", "by_distance"),
    [
        ("resnet18", {1: "layer4.1.conv1.weight", 2: "layer4.0.bn2.bias", 9: "bn1.weight"}),
        ("vit_b_16", {1: "encoder.ln.weight", 12: "encoder.layers.encoder_layer_0.ln_1.bias", 13: "class_token"}),
        ("regnet_y_400mf", {1: "trunk_output.block4.block4-5.f.c.1.bias", 10: "stem.0.weight"}),
        (
            "vgg16_bn",
            {1: "classifier.3.bias", 2: "classifier.0.weight", 3: "features.41.weight", 15: "features.1.bias"},
        ),
        ("efficientnet-lite0", {1: "features.norm.bias", 2: "blocks.15.expand.conv.weight", 18: "stem.conv.weight"}),
        ("mlp", {1: "layers.3.bias", 2: "layers.1.weight"}),
    ],
)
def test_layers_are_counted_from_the_head(name, by_distance):
    network = build_unallocated(name, num_classes=3)
    found = layer_distances(network)
    head = network.get_submodule(head_name(network)).weight
    assert found.keys() == {id(p) for p in backbone_parameters(network)}
    assert id(head) not in found
    assert {found[id(network.get_parameter(key))]: key for key in by_distance.values()} == by_distance
    assert set(found.values()) == set(range(1, max(by_distance) + 1))


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_each_layer_moves_more_slowly_than_the_next(name):
    network = build_network("mlp", num_classes=3, arguments={"hidden": [4, 4], "image_px": 2})
    settings = OptimSettings(name=name, lr=0.8, rest_lr=0.8)
    optimisers = Optimisers(network, settings, backbone_lr_factor=0.5, layer_decay=0.25)
    rates = sorted({group["lr"] for part in optimisers.parts for group in part.param_groups})
    assert rates == pytest.approx([0.8 * 0.5 * 0.25**2, 0.8 * 0.5 * 0.25, 0.8])
    num_moved = sum(p.numel() for part in optimisers.parts for g in part.param_groups for p in g["params"])
    assert num_moved == sum(p.numel() for p in network.parameters())


def test_nothing_to_train_is_an_error():
    with pytest.raises(ConfigError, match="no weights to train"):
        Optimisers(small_network().requires_grad_(False), OptimSettings())
    with pytest.raises(ConfigError, match="muon needs a hidden layer"):
        Optimisers(nn.Linear(2, 2), OptimSettings(name="muon"))
