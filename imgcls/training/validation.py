"""Measuring a run's network on the images it doesn't learn from, as `eval` would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imgcls.datasets.labelled_images import LabelledImages, is_multi_label
from imgcls.datasets.opening import Dataset
from imgcls.distributed.process_group import Processes
from imgcls.evaluation.metrics import Arithmetic, evaluate_network
from imgcls.evaluation.multi_label.measuring import MultiLabelResult, evaluate_labels
from imgcls.evaluation.result import EvalResult
from imgcls.images.transform import Transform
from imgcls.models.building import build_with_weights
from imgcls.models.checkpoint import load_checkpoint
from imgcls.models.heads import HeadNetwork
from imgcls.recipes.schema import Recipe
from imgcls.runs.events import Measuring, OnEvent
from imgcls.training.fine_tuning.features import KeptFeatures, keep_features
from imgcls.training.precision import Precision
from imgcls.training.setup.building import placed


class Validation:
    """Validation after every epoch, and the test at the end.

    Args:
        recipe: resolved.
        dataset: its validation and test images.
        transform: its arithmetic turns bytes into the network's input.
        device: where networks are measured.
        processes: that share the images, and measure at the same time.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        *,
        transform: Transform,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.recipe, self.dataset, self.transform, self.device = recipe, dataset, transform, device
        self._processes = processes
        if recipe.train.eval_batch_size is None:
            raise ValueError("the recipe is not resolved")
        self._batch_size = recipe.train.eval_batch_size
        self._kept: KeptFeatures | None = None

    def validate(
        self, network: nn.Module, on_event: OnEvent, *, keep: bool = False
    ) -> EvalResult | MultiLabelResult | None:
        """The network's figures on the validation images; None where there are none.

        Args:
            network: on the device.
            on_event: told of progress.
            keep: whether its backbone is frozen, so that what it makes of the images may be kept for the next time.
        """
        images = self.dataset.validation
        if images is None:
            return None
        if not keep:
            self._kept = None
            return self._evaluate(network, images, on_event)
        if self._kept is None:
            self._kept = self._keep(network, images)
        if self._kept is None:
            return self._evaluate(network, images, on_event)
        return self._evaluate_head(network, self._kept)

    def test(self, checkpoint: Path, on_event: OnEvent) -> dict[str, Any] | None:
        """The figures of a stored network on the test images; None where there are none."""
        images = self.dataset.test
        if images is None:
            return None
        best = self._processes.from_first(lambda: load_checkpoint(checkpoint))
        network = build_with_weights(
            best.model_name, num_classes=len(best.classes), weights=best.weights, arguments=best.model_arguments
        )
        result = self._evaluate(placed(network, self.recipe, self.device), images, on_event)
        return figures(result) | {"num_classes": len(result.labels), "data": images.description.to_dict()}

    def _keep(self, network: nn.Module, images: LabelledImages) -> KeptFeatures | None:
        kept = keep_features(
            network.eval(),
            images,
            transform=self.transform,
            device=self.device,
            batch_size=self._batch_size,
            precision=Precision(),
            flipped=False,
            channels_last=False,
            processes=self._processes,
        )
        assert not isinstance(kept, str)
        return kept

    def _evaluate_head(self, network: nn.Module, kept: KeptFeatures) -> EvalResult | MultiLabelResult:
        return self._measure(HeadNetwork(network), kept, transform=kept)

    def _evaluate(self, network: nn.Module, images: LabelledImages, on_event: OnEvent) -> EvalResult | MultiLabelResult:
        split = images.description.split
        return self._measure(
            network,
            images,
            transform=self.transform,
            progress=lambda done, total: on_event(Measuring(split, done, total)),
        )

    def _measure(
        self,
        network: nn.Module,
        images: LabelledImages,
        *,
        transform: Arithmetic,
        progress: Callable[[int, int], None] | None = None,
    ) -> EvalResult | MultiLabelResult:
        """In float32, as `eval` and `predict` run the network: the figures must be theirs."""
        measure: Callable[..., EvalResult | MultiLabelResult] = (
            evaluate_labels if is_multi_label(images) else evaluate_network
        )
        return measure(
            network,
            images,
            transform=transform,
            device=self.device,
            batch_size=self._batch_size,
            progress=progress,
            processes=self._processes,
        )


def figures(result: EvalResult | MultiLabelResult) -> dict[str, Any]:
    """What `eval` calls an evaluation's figures."""
    if isinstance(result, MultiLabelResult):
        return {"count": result.count, "map": result.mean_ap, "loss": result.loss}
    return {
        "count": result.count,
        "correct": result.correct,
        "top1": result.top1,
        "top5": result.top5,
        "loss": result.loss,
    }
