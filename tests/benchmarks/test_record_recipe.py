import cifar10_files
import numpy as np
import pytest
import record_recipe
import torch
from record_network import Optimisers, RecordNetwork, Settings, as_matrix
from record_recipe import Batches, Training, six_views
from torch.nn import functional as F  # noqa: N812

SMALL = Settings(widths=(4, 8, 8), batch_size=8)
CPU = torch.device("cpu")


@pytest.fixture
def images():
    return torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_first_layer_whitens_patches(images):
    images = record_recipe.normalise(images, torch.float32)
    network = RecordNetwork(10, (4, 8, 8))
    network.whiten(images)
    answers = F.conv2d(images, network.stem.weight)
    assert torch.equal(answers[:, 12:], -answers[:, :12])
    rows = answers[:, :12].transpose(0, 1).flatten(1).double()
    # The floor under the spread keeps it a little below one.
    torch.testing.assert_close(rows @ rows.T / rows.shape[1], torch.eye(12, dtype=torch.float64), atol=2e-3, rtol=0)


def test_a_network_begins_by_passing_on_and_with_calm_logits():
    torch.manual_seed(0)
    network = RecordNetwork(10, (64, 64, 64))
    second = network.stages[0][4].weight
    assert torch.equal(second, torch.nn.init.dirac_(torch.empty(64, 64, 3, 3)))
    assert torch.equal(network.stages[0][0].weight[:24], torch.nn.init.dirac_(torch.empty(24, 24, 3, 3)))
    assert network.head.weight.std().item() == pytest.approx(1, abs=1e-5)
    logits = network(torch.randn(4, 3, 32, 32))
    assert logits.shape == (4, 10)
    assert logits.abs().max() < 1
    # 24 x 3 x 4 whitening weights and the norms' scales stay as they are.
    frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
    assert frozen == ["stem.weight", *(f"stages.{s}.{n}.weight" for s in range(3) for n in (2, 5))]


def test_an_epoch_shows_each_image_once_and_shifted_as_numpy_pads(images):
    labels = torch.arange(24)
    batches = Batches(images, labels, SMALL, torch.Generator().manual_seed(1))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    flips = {}
    for epoch in (0, 1):
        shown = [pair for images, rows in batches.epoch(epoch) for pair in zip(images, rows.tolist(), strict=True)]
        assert sorted(row for _image, row in shown) == list(range(24))
        for image, row in shown:
            windows = [padded[row, :, y : y + 32, x : x + 32] for y in range(5) for x in range(5)]
            plain = any(np.array_equal(image, window) for window in windows)
            flipped = any(np.array_equal(image, window[:, :, ::-1]) for window in windows)
            assert plain != flipped
            flips.setdefault(row, []).append(flipped)
    assert all(first != second for first, second in flips.values())
    assert 4 < sum(first for first, _second in flips.values()) < 20


def test_what_is_left_over_of_an_epoch_is_not_shown(images):
    batches = Batches(images[:21], torch.arange(21), SMALL, torch.Generator().manual_seed(1))
    assert [len(rows) for _images, rows in batches.epoch(0)] == [8, 8]


def orthogonalised(matrix):
    """Three rounds of the quintic iteration, in double precision."""
    x = matrix.double() / matrix.norm()
    for _ in range(3):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def test_a_step_is_the_published_arithmetic():
    torch.manual_seed(0)
    network = RecordNetwork(10, (4, 8, 8)).to(memory_format=torch.channels_last)
    settings = Settings(batch_size=2000)
    optimisers = Optimisers(network, settings)
    filters, head, bias = network.stages[1][4].weight, network.head.weight, network.stem.bias
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn_like(parameter)
    gradients = {p: p.grad.clone() for p in (filters, head, bias)}
    before = {p: p.detach().clone() for p in (filters, head, bias)}
    optimisers.step(stem_factor=0.5, factor=0.25)
    # A first step of Nesterov's momentum m moves by 1 + m gradients; decay is 2e-6 an image whatever the rate is.
    for parameter, rate, factor in ((head, 0.67, 0.25), (bias, 0.053, 0.5)):
        gradient = gradients[parameter] + 0.004 / rate * before[parameter]
        torch.testing.assert_close(parameter.detach(), before[parameter] - factor * rate * 1.85 * gradient)
    unit_rows = before[filters] * (len(filters) ** 0.5 / before[filters].norm())
    moved = as_matrix(unit_rows).double() - 0.25 * 0.24 * orthogonalised(as_matrix(gradients[filters]))
    # torch iterates in bfloat16.
    torch.testing.assert_close(as_matrix(filters.detach()).double(), moved, atol=2e-3, rtol=0)
    assert all(p.grad is None for p in network.parameters())


def test_six_views_are_weighed_as_published():
    image = torch.rand(2, 3, 32, 32)

    def corner(images):
        return images[:, :, 0, 0]

    expected = (
        (image[:, :, 0, 0] + image[:, :, 0, 31]) / 4
        # A pixel up and left the corner shows what the padding reflected: row 1, column 1.
        + (image[:, :, 1, 1] + image[:, :, 1, 30]) / 8
        + (image[:, :, 1, 1] + image[:, :, 1, 30]) / 8
    )
    torch.testing.assert_close(six_views(corner, image), expected)


@pytest.mark.parametrize("precision", ["autocast", "bf16"])
def test_a_run_learns_and_counts_right(precision):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    images = torch.randint(0, 120, (64, 3, 32, 32), dtype=torch.uint8, generator=generator)
    images[labels == 1] += 130
    data = cifar10_files.Cifar10(images, labels, images[:20], labels[:20])
    epochs = []
    training = Training(
        data, Settings(epochs=2.5, widths=(4, 8, 8), batch_size=16), seed=0, device=CPU, precision=precision
    )
    result = training.run(epochs.append)
    assert (training.steps, training.total_steps, training.stem_steps) == (10, 10, 12)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert result.top1 == result.six_views_top1 == 1
    assert result.images_per_sec == pytest.approx(160 / result.train_sec)
