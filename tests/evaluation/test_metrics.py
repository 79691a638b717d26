"""Figures are exact counts: against hand-made numbers, an independent formula, and properties."""

import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from imgcls.datasets.labelled_images import Batch, DataDescription, SkippedImage
from imgcls.errors import DataError
from imgcls.evaluation.class_matching import ClassMap
from imgcls.evaluation.guesses import rank_guesses
from imgcls.evaluation.metrics import evaluate_network
from imgcls.evaluation.result import EvalResult
from imgcls.images.transform import Transform

CPU = torch.device("cpu")
# Leaves the bytes as they are, but for the scale.
TRANSFORM = Transform(1, 1, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255))


class NumberedImages:
    """Image i is one pixel whose red says i; so a table of logits can stand for a network."""

    skipped: tuple[SkippedImage, ...] = ()
    description = DataDescription("numbers", "test", "0" * 64)

    def __init__(self, labels: list[int], classes: tuple[str, ...]) -> None:
        self.labels_N = torch.tensor(labels, dtype=torch.int64)
        self.classes = classes

    def __len__(self) -> int:
        return len(self.labels_N)

    def batches(self, order: Tensor, *, batch_size: int, device: torch.device) -> Iterator[Batch]:
        for chunk in order.split(batch_size) if len(order) else ():
            images = torch.zeros(len(chunk), 3, 1, 1, dtype=torch.uint8)
            images[:, 0, 0, 0] = chunk.to(torch.uint8)
            yield Batch(images, self.labels_N[chunk], chunk)


class TableNetwork(nn.Module):
    """Answers image i with row i of a table."""

    def __init__(self, logits_NK: list[list[float]] | Tensor) -> None:
        super().__init__()
        self.logits_NK = torch.as_tensor(logits_NK)
        self.modes: list[bool] = []

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.modes.append(self.training)
        return self.logits_NK[images_BCHW[:, 0, 0, 0].round().long()]


def measure(
    logits: list[list[float]] | Tensor, labels: list[int], *, batch_size: int = 2, **settings: object
) -> EvalResult:
    table = TableNetwork(logits)
    classes = tuple("abcdefghij"[: table.logits_NK.shape[1]])
    images = NumberedImages(labels, classes)
    return evaluate_network(table, images, transform=TRANSFORM, device=CPU, batch_size=batch_size, **settings)  # type: ignore[arg-type]


def test_by_hand_with_a_short_last_batch() -> None:
    # Three classes; five images in batches of two: the means of the batch means would be 0.5, not 3/5.
    logits = [[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 0.0, 5.0], [4.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    result = measure(logits, [0, 1, 0, 0, 2])
    assert (result.count, result.correct, result.top1) == (5, 3, 0.6)
    assert result.top5 == 1.0
    assert result.confusion_KK.tolist() == [[2, 0, 1], [0, 1, 0], [0, 1, 0]]
    assert [(c.label, c.count, c.correct, c.accuracy) for c in result.classes] == [
        ("a", 3, 2, 2 / 3),
        ("b", 1, 1, 1.0),
        ("c", 1, 0, 0.0),
    ]
    by_hand = [
        math.log(math.e**2 + math.e + 1) - 2,
        math.log(1 + math.e**3 + math.e) - 3,
        math.log(2 + math.e**5),
        math.log(math.e**4 + 2) - 4,
        math.log(2 + math.e),
    ]
    assert result.loss == pytest.approx(sum(by_hand) / 5, rel=1e-6)


def test_top5_of_seven_classes() -> None:
    falling = [[7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]] * 7
    result = measure(falling, [0, 1, 2, 3, 4, 5, 6])
    assert (result.correct, result.top5_correct) == (1, 5)


def test_equal_scores_rank_by_class_index() -> None:
    # A network that gives all classes the same score is right about one class only, not about all of them.
    result = measure([[1.0] * 6] * 6, [0, 1, 2, 3, 4, 5])
    assert (result.correct, result.top5_correct) == (1, 5)
    assert result.confusion_KK[:, 0].tolist() == [1] * 6
    guesses, within = rank_guesses(torch.tensor([[3.0, 5.0, 5.0, 1.0]] * 2), torch.tensor([2, 1]), k=1)
    assert guesses.tolist() == [1, 1]
    assert within.tolist() == [False, True]


@pytest.mark.parametrize("seed", range(5))
def test_against_an_independent_formula_and_in_any_batches(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Few distinct values, so that ties are frequent.
    logits = torch.randint(0, 4, (53, 8), generator=generator).float()
    labels = torch.randint(0, 8, (53,), generator=generator).tolist()
    result = measure(logits, labels, batch_size=7)
    orders = [sorted(range(8), key=lambda k, row=row: (-row[k], k)) for row in logits.tolist()]
    assert result.correct == sum(order[0] == label for order, label in zip(orders, labels, strict=True))
    assert result.top5_correct == sum(label in order[:5] for order, label in zip(orders, labels, strict=True))
    confusion = torch.zeros(8, 8, dtype=torch.int64)
    for order, label in zip(orders, labels, strict=True):
        confusion[label, order[0]] += 1
    assert torch.equal(result.confusion_KK, confusion)
    losses = -logits.double().log_softmax(1)[torch.arange(53), labels]
    assert result.loss == pytest.approx(float(losses.mean()), rel=1e-6)
    for batch_size in (1, 53, 100):
        again = measure(logits, labels, batch_size=batch_size)
        assert torch.equal(again.confusion_KK, result.confusion_KK)
        assert again.loss == pytest.approx(result.loss, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_more_guesses_are_never_worse_and_the_confusion_adds_up(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(40, 6, generator=generator).round(decimals=1)
    labels_B = torch.randint(0, 6, (40,), generator=generator)
    hits = [rank_guesses(logits, labels_B, k=k)[1] for k in range(1, 8)]
    for fewer, more in pairwise(hits):
        assert bool((fewer <= more).all())
    assert bool(hits[5].all())
    assert torch.equal(hits[0], rank_guesses(logits, labels_B)[0] == labels_B)
    result = measure(logits, labels_B.tolist())
    assert int(result.confusion_KK.sum()) == result.count == 40
    assert sum(each.correct for each in result.classes) == result.correct <= result.top5_correct


def test_labels_are_mapped_to_the_models_outputs() -> None:
    mapping = ClassMap(classes=("x", "y", "z"), to_model=(2, 0), missing=("y",))
    result = measure([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]], [0, 1], class_map=mapping)
    assert result.labels == ("x", "y", "z")
    assert result.confusion_KK.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 1]]
    assert [each.accuracy for each in result.classes] == [0.0, None, 1.0]


def test_outputs_that_are_no_numbers_are_not_right() -> None:
    nan = math.nan
    result = measure([[nan, 1.0], [nan, 1.0], [nan, nan]], [0, 1, 1])
    assert result.correct == 1
    assert math.isnan(result.loss)


def test_the_network_is_left_as_it_was_and_told_of_progress() -> None:
    table = TableNetwork([[1.0, 0.0]] * 5)
    images = NumberedImages([0] * 5, ("a", "b"))
    seen: list[tuple[int, int]] = []
    for mode in (True, False):
        table.train(mode)
        evaluate_network(
            table, images, transform=TRANSFORM, device=CPU, batch_size=2, progress=lambda *at: seen.append(at)
        )
        assert table.training is mode
    assert seen == [(2, 5), (4, 5), (5, 5)] * 2
    assert not any(table.modes)


def test_reduced_precision_is_asked_for_by_name() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)
            self.dtypes: set[torch.dtype] = set()

        def forward(self, images_BCHW: Tensor) -> Tensor:
            logits_BK: Tensor = self.layer(images_BCHW.flatten(1))
            self.dtypes.add(logits_BK.dtype)
            return logits_BK

    network = Linear()
    images = NumberedImages([0, 1], ("a", "b"))
    for dtype in (None, torch.bfloat16):
        evaluate_network(network, images, transform=TRANSFORM, device=CPU, batch_size=2, autocast_dtype=dtype)
    assert network.dtypes == {torch.float32, torch.bfloat16}


def test_no_image_is_an_error() -> None:
    with pytest.raises(DataError, match="none of the images of numbers"):
        measure([[0.0, 1.0]], [])
