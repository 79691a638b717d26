import copy

import pytest
import torch
from torch import nn
from torch.amp import GradScaler
from torch.nn import functional as F  # noqa: N812

from imgcls.errors import ConfigError, DeviceError
from imgcls.host.devices import supports_bfloat16
from imgcls.recipes.loading import load_recipe
from imgcls.training.loss import balanced_weights, uneven_warning
from imgcls.training.optimization.optimizer import Optimisers
from imgcls.training.precision import Precision, choose_precision
from imgcls.training.step import TrainingStep

CPU = torch.device("cpu")
FP16 = Precision("fp16", torch.float16, scaled=True)


class Sized(nn.Flatten):
    """Notes the size of what comes by."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        return super().forward(images)


def build_step(*settings, precision=None, scaler=None, weights_K=None):
    torch.manual_seed(0)
    network = nn.Sequential(Sized(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3))
    recipe = load_recipe(assignments=["optim.name=sgd", "optim.lr=0.1", *settings])
    optimisers = Optimisers(network, recipe.optim)
    step = TrainingStep(
        network,
        optimisers,
        recipe,
        device=CPU,
        precision=precision or Precision(),
        scaler=scaler,
        weights_K=weights_K,
    )
    return network, step


def batch(size=8, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 3, 2, 2, generator=generator), torch.arange(size) % 3


def assert_same(network, other, **tolerance):
    for value, expected in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, **tolerance)


@pytest.mark.parametrize("target", ["indices", "probabilities"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_is_that_of_the_plain_script(target, weighted):
    weights_K = torch.tensor([0.5, 1.0, 3.0]) if weighted else None
    network, step = build_step("optim.label_smoothing=0.1", "optim.weight_decay=0", weights_K=weights_K)
    plain = copy.deepcopy(network)
    images, labels = batch()
    answers = labels if target == "indices" else F.one_hot(labels, 3) * 0.7 + F.one_hot(labels.roll(1), 3) * 0.3
    loss = step(images, answers)
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    losses = F.cross_entropy(plain(images), answers, weight=weights_K, label_smoothing=0.1, reduction="none")
    losses.mean().backward()
    optimiser.step()
    torch.testing.assert_close(loss, losses.mean().detach())
    assert_same(network, plain)


@pytest.mark.parametrize(
    ("size", "portions", "sizes"), [(8, 3, [3, 3, 2]), (5, 3, [3, 2]), (3, 4, [3]), (8, 2, [4, 4])]
)
def test_portions_move_the_weights_as_the_whole_batch_does(size, portions, sizes):
    settings = ("optim.grad_clip=0.2", "optim.label_smoothing=0.1")
    weights_K = torch.tensor([0.5, 1.0, 3.0])
    network, step = build_step(*settings, weights_K=weights_K)
    parted, in_portions = build_step(*settings, f"train.accumulate={portions}", weights_K=weights_K)
    for seed in (1, 2):
        loss = step(*batch(size, seed))
        torch.testing.assert_close(in_portions(*batch(size, seed)), loss)
    assert_same(parted, network)
    assert parted[0].sizes == sizes * 2


def test_portions_of_one_image_are_refused():
    with pytest.raises(ConfigError, match=r"train\.accumulate = 5 leaves portions of less than two images"):
        load_recipe(assignments=["train.accumulate=5", "train.batch_size=8"])


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
@pytest.mark.parametrize("clip", [0, 0.1])
def test_a_scaled_loss_moves_the_weights_as_an_unscaled_one_does(name, clip):
    # Powers of two scale exactly, so that in float32 nothing but the order of sums is left.
    results = []
    for scaler in (None, GradScaler("cpu")):
        network, step = build_step(f"optim.name={name}", f"optim.grad_clip={clip}", scaler=scaler)
        for seed in (1, 2, 3):
            step(*batch(8, seed))
        results.append(network)
    # Muon works in bfloat16 inside.
    assert_same(*results, **({"atol": 2e-3, "rtol": 0} if name == "muon" else {}))


def test_float16_trains_weights_of_float32():
    scaler = GradScaler("cpu")
    network, step = build_step(precision=FP16, scaler=scaler)
    first = step(*batch())
    for _ in range(30):
        last = step(*batch())
    assert last < first / 2
    assert all(value.dtype == torch.float32 for value in network.state_dict().values())
    assert scaler.state_dict()["_growth_tracker"] == 31


def test_an_infinite_gradient_moves_nothing_and_lowers_the_scale():
    scaler = GradScaler("cpu")
    network, step = build_step(scaler=scaler)
    step(*batch())
    before, scale = copy.deepcopy(network), scaler.get_scale()
    images, labels = batch()
    step(images * 1e38, labels)
    assert_same(network, before, atol=0, rtol=0)
    assert scaler.get_scale() == scale / 2


def test_which_precision_a_device_takes():
    assert choose_precision("fp32", CPU) == Precision("fp32", None)
    assert choose_precision("bf16", CPU) == Precision("bf16", torch.bfloat16)
    assert choose_precision("auto", CPU).name == ("bf16" if supports_bfloat16(CPU) else "fp32")
    with pytest.raises(DeviceError, match="fp16") as caught:
        choose_precision("fp16", CPU)
    assert "train.precision=auto" in caught.value.hint


def test_balanced_weights_by_hand():
    weights_K = balanced_weights(torch.tensor([0, 0, 0, 2]), 3)
    assert weights_K.tolist() == pytest.approx([4 / (2 * 3), 0.0, 4 / (2 * 1)])
    labels_N = torch.randint(0, 5, (1000,), generator=torch.Generator().manual_seed(0)).clamp(min=2) - 2
    weights_K = balanced_weights(labels_N, 3)
    assert weights_K[labels_N].mean().item() == pytest.approx(1)
    totals = weights_K * torch.bincount(labels_N)
    assert totals.tolist() == pytest.approx([1000 / 3] * 3)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((1200, 50, 4000), "uneven classes: 4,000 training images of 'owl', 50 of 'dog'"),
        ((1, 1, 9), None),
        ((10, 0, 9), "10 training images of 'cat', 0 of 'dog'"),
    ],
)
def test_uneven_classes_are_told(counts, said):
    labels_N = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    told = uneven_warning(labels_N, ("cat", "dog", "owl"))
    assert (told is None) is (said is None)
    if said is not None:
        assert said in told
        assert "optim.class_weights=balanced" in told
