"""The training loop of the usual PyTorch tutorial, as the baseline of `mlp.py`.

Batches of 4 from a DataLoader, each image through PIL, ToTensor and Normalize(0.5), SGD with lr 1e-3 and momentum
0.9; the network is the one that imgcls trains from `configs/mlp.toml`. Stops once the test accuracy reaches a target.
Prints one JSON line per measurement: training seconds so far (loading counts, measuring doesn't) and test accuracy.

    python benchmarks/tutorial_loop.py --data DIR       DIR holds cifar-10-batches-py
"""

import argparse
import json
import pickle
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

MEASURE_EVERY = 2500


class Cifar10(Dataset[tuple[torch.Tensor, int]]):
    """What torchvision's CIFAR10 does with each image; torchvision itself refuses re-encoded files."""

    def __init__(self, folder: Path, files: list[str]) -> None:
        batches = [pickle.loads((folder / name).read_bytes(), encoding="latin1") for name in files]
        self.pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        self.labels = [label for batch in batches for label in batch["labels"]]
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def measure(network: nn.Module, loader: DataLoader[tuple[torch.Tensor, int]]) -> float:
    """Share of the test images whose class the network names."""
    correct = total = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += int((network(images).argmax(1) == labels).sum())
            total += len(labels)
    return correct / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", type=float, default=0.53)
    parser.add_argument("--max-epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    folder = arguments.data / "cifar-10-batches-py"
    train = DataLoader(Cifar10(folder, [f"data_batch_{i}" for i in range(1, 6)]), batch_size=4, shuffle=True)
    test = DataLoader(Cifar10(folder, ["test_batch"]), batch_size=500)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(3072, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    criterion = nn.CrossEntropyLoss()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    seconds, step = 0.0, 0
    for _epoch in range(arguments.max_epochs):
        started = time.perf_counter()
        for images, labels in train:
            optimiser.zero_grad()
            loss = criterion(network(images), labels)
            loss.backward()
            optimiser.step()
            step += 1
            if step % MEASURE_EVERY == 0:
                seconds += time.perf_counter() - started
                top1 = measure(network, test)
                print(json.dumps({"step": step, "train_sec": round(seconds, 2), "top1": top1}), flush=True)
                if top1 >= arguments.target:
                    return
                started = time.perf_counter()
        seconds += time.perf_counter() - started


if __name__ == "__main__":
    main()
