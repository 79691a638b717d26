"""How many images a network takes at once on a CPU, by what its layers read and write."""

import threading

import pytest
import torch
from torch import nn

from imgcls.inference.backends.cpu_batches import MOST, USUAL, images_at_once
from imgcls.models.building import build_network


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 234 MiB of weights that see one vector an image; 0.74 MiB written by the widest layer.
        ("alexnet", MOST),
        # As heavy a classifier, but 12 MiB written by the first layers.
        ("vgg11", USUAL),
        ("resnet18", USUAL),
    ],
)
def test_networks_with_heavy_classifiers_and_small_outputs_take_more_images(name: str, expected: int) -> None:
    network = build_network(name, num_classes=1000).eval()
    assert images_at_once(network, torch.rand(1, 3, 224, 224)) == expected


def test_weights_used_at_every_position_are_not_a_heavy_classifier() -> None:
    per_position = nn.Sequential(nn.Flatten(2), nn.Linear(64, 4096), nn.Linear(4096, 4))
    per_image = nn.Sequential(nn.Flatten(1), nn.Linear(192, 4096), nn.Linear(4096, 4))
    assert images_at_once(per_position, torch.rand(1, 3, 8, 8)) == USUAL
    assert images_at_once(per_image, torch.rand(1, 3, 8, 8)) == MOST


def test_calls_of_other_threads_do_not_count() -> None:
    entered, measured = threading.Event(), threading.Event()

    class Waits(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if threading.current_thread() is threading.main_thread():
                entered.set()
                assert measured.wait(60)
            return images

    network = nn.Sequential(Waits(), nn.Flatten(1), nn.Linear(192, 4096))

    def run_many() -> None:
        assert entered.wait(60)
        network(torch.rand(100, 3, 8, 8))
        measured.set()

    other = threading.Thread(target=run_many)
    other.start()
    assert images_at_once(network, torch.rand(1, 3, 8, 8)) == MOST
    other.join()
