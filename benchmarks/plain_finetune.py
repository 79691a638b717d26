"""Transfer learning as PyTorch's tutorial does it, as the baseline of `finetune.py` and `finetune_real.py`.

ImageFolder, a DataLoader with two workers, a ResNet (or AlexNet, or EfficientNet-Lite0) with a new last layer; every
epoch decodes every image and runs the whole network, the frozen epochs too. With `--has-val` DIR holds train/ and val/,
else a fifth of the images is held out. Prints one JSON line: validation accuracy, the best and the last.

    python benchmarks/plain_finetune.py --data DIR --model resnet18 --weights FILE --head-epochs 15 --epochs 20
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import datasets, models, transforms

from imgcls.models.weights.initial_weights import load_start


def with_new_head(name: str, weights: Path | None, num_classes: int) -> tuple[nn.Module, nn.Module]:
    """A network with its weights and an untrained last layer, and that layer."""
    if name == "efficientnet-lite0":
        # The one thing taken from imgcls: torchvision lacks this network.
        network = load_start(name, {}, pretrained="IMAGENET1K").network
        network.classifier = nn.Linear(network.classifier.in_features, num_classes)
        return network, network.classifier
    network = models.get_model(name, weights=None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    if name == "alexnet":
        network.classifier[6] = nn.Linear(4096, num_classes)
        return network, network.classifier[6]
    network.fc = nn.Linear(network.fc.in_features, num_classes)
    return network, network.fc


def measure(network: nn.Module, loader: DataLoader[tuple[torch.Tensor, int]]) -> float:
    """Share of the images whose class the network names."""
    network.eval()
    correct = total = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += int((network(images).argmax(1) == labels).sum())
            total += len(labels)
    return correct / total


def split(
    data: Path, has_val: bool, train_transform: transforms.Compose, val_transform: transforms.Compose
) -> tuple[Dataset[Any], Dataset[Any], list[str]]:
    """Images to train on and to validate on, and the classes."""
    if has_val:
        train_set = datasets.ImageFolder(str(data / "train"), train_transform)
        return train_set, datasets.ImageFolder(str(data / "val"), val_transform), train_set.classes
    whole = datasets.ImageFolder(str(data), train_transform)
    order = torch.randperm(len(whole)).tolist()
    num_val = len(order) // 5
    val_set = Subset(datasets.ImageFolder(str(data), val_transform), order[:num_val])
    return Subset(whole, order[num_val:]), val_set, whole.classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--weights", type=Path, help="a state_dict of torchvision's network")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--head-epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--has-val", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    # The network's own constants, so that no accuracy is lost where a careful person loses none.
    is_lite = arguments.model == "efficientnet-lite0"
    mean, std = ([127 / 255] * 3, [128 / 255] * 3) if is_lite else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    normalise = transforms.Normalize(mean, std)
    steps = [transforms.Resize(256), transforms.CenterCrop(224)]
    train_transform = transforms.Compose([*steps, transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalise])
    val_transform = transforms.Compose([*steps, transforms.ToTensor(), normalise])
    train_set, val_set, names = split(arguments.data, arguments.has_val, train_transform, val_transform)
    train = DataLoader(train_set, batch_size=32, shuffle=True, num_workers=2)
    val = DataLoader(val_set, batch_size=32, num_workers=2)
    network, head = with_new_head(arguments.model, arguments.weights, len(names))
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    for parameter in network.parameters():
        parameter.requires_grad = False
    for parameter in head.parameters():
        parameter.requires_grad = True
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3)
    best = last = 0.0
    for epoch in range(arguments.epochs):
        if epoch == arguments.head_epochs:
            for parameter in network.parameters():
                parameter.requires_grad = True
            optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
        network.train()
        for images, labels in train:
            optimiser.zero_grad()
            criterion(network(images), labels).backward()
            optimiser.step()
        last = measure(network, val)
        best = max(best, last)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(network.state_dict(), Path(folder) / "finetuned.pth")
    print(json.dumps({"top1": best, "last_top1": last}))


if __name__ == "__main__":
    main()
