"""Calibration and sets of labels: figures before and after, and the coverage over 100 random splits beside the nominal.

The model answers the labelled images once. Then, a hundred times, the images are split at random: a temperature is
fitted on a quarter, the sets' threshold comes from another quarter, and the sets are measured on the other half.
Beside it stand the sets without a guarantee that a person would write: classes, the most probable first, until their
(calibrated) probabilities add up to the coverage.

    python benchmarks/calibrated.py --model cifar10-cnn --data cifar10/test
    python benchmarks/calibrated.py --model runs/ants-bees --data hymenoptera/val --coverage 0.95
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from imgcls.datasets.opening import Opening
from imgcls.evaluation.calibration.conformal import fit_sets, measure_sets
from imgcls.evaluation.calibration.figures import Figures
from imgcls.evaluation.calibration.fitting import calibrate_logits, collect_logits, fit
from imgcls.evaluation.class_matching import match_classes
from imgcls.evaluation.data import open_data_for
from imgcls.models.loading import load_model


def logits_of(spec: str, data: str) -> tuple[Tensor, Tensor]:
    """The model's logits and the true classes of all images."""
    model = load_model(spec)
    images = open_data_for(model, data, split=None, opening=Opening(transform=model.transform)).images
    class_map = match_classes(images.classes, model.classes, wordnet_ids=model.wordnet_ids)
    network = model.network.eval()
    return collect_logits(
        lambda images_BCHW: network(model.transform.normalise(images_BCHW)),
        images.batches(torch.arange(len(images)), batch_size=64, device=torch.device("cpu")),
        torch.tensor(class_map.to_model),
    )


def show(title: str, figures: Figures) -> None:
    """One line of figures with their intervals."""
    shown = (
        f"{name} {figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"
        for name, figure in (("ECE", figures.ece), ("Brier", figures.brier), ("log loss", figures.log_loss))
    )
    print(f"  {title:<7} {', '.join(shown)}")


def naive_coverage(probabilities_NK: Tensor, labels_N: Tensor, coverage: float) -> tuple[float, float]:
    """Coverage and mean size of sets that add up probabilities, without a guarantee."""
    sorted_NK, order_NK = probabilities_NK.sort(dim=1, descending=True)
    sizes_N = (sorted_NK.cumsum(1) - sorted_NK < coverage).sum(1)
    ranks_N = (order_NK == labels_N[:, None]).int().argmax(1)
    return float((ranks_N < sizes_N).double().mean()), float(sizes_N.double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--coverage", type=float, nargs="+", default=[0.9, 0.95, 0.99])
    parser.add_argument("--splits", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logits_NK, labels_N = logits_of(arguments.model, str(arguments.data))
    count = len(labels_N)
    accuracy = float((logits_NK.argmax(1) == labels_N).double().mean())
    print(f"{arguments.model} on {count:,} images, accuracy {accuracy:.2%}")
    for method in ("temperature", "vector"):
        report = calibrate_logits(logits_NK, labels_N, method=method)
        print(
            f"{method}, cross-fitted" + (f", {report.calibration.temperature:.3f}" if method == "temperature" else "")
        )
        show("before", report.before)
        show("after", report.after)
    for coverage in arguments.coverage:
        found, naive = [], []
        for split in range(arguments.splits):
            order = torch.randperm(count, generator=torch.Generator().manual_seed(split))
            first, second, third = order.tensor_split([count // 4, count // 2])
            scale = fit(logits_NK[first].double(), labels_N[first], method="temperature").scale[0]
            probabilities_NK = (logits_NK.double() * scale).softmax(1)
            sets = fit_sets(probabilities_NK[second], labels_N[second], coverage=coverage)
            found.append(measure_sets(sets, probabilities_NK[third], labels_N[third]))
            naive.append(naive_coverage(probabilities_NK[third], labels_N[third], coverage))
        rates = torch.tensor([each.coverage for each in found], dtype=torch.float64)
        # Of one split: the threshold is as uncertain as its quarter, the measure as its half.
        deviation = math.sqrt(coverage * (1 - coverage) * (1 / len(second) + 1 / len(third)))
        inside = float(((rates - coverage).abs() <= 1.96 * deviation).double().mean())
        size = sum(each.mean_size for each in found) / len(found)
        singles = sum(each.singles for each in found) / len(found)
        print(
            f"coverage {coverage:.1%}: mean {rates.mean():.2%}, spread {rates.std():.2%} ({deviation:.2%} expected), "
            f"{inside:.0%} of {arguments.splits} splits within 1.96 of that; {size:.2f} labels, {singles:.0%} single; "
            f"added-up probabilities: {sum(rate for rate, _ in naive) / len(naive):.2%} with "
            f"{sum(size for _, size in naive) / len(naive):.2f} labels"
        )


if __name__ == "__main__":
    main()
