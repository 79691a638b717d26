"""Fitting a calibration on images that the model wasn't trained on, and measuring it on others.

Shapes: N images, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from imgcls.errors import DataError
from imgcls.evaluation.calibration.conformal import SetFigures, fit_sets, measure_sets
from imgcls.evaluation.calibration.figures import Figures, figures_of
from imgcls.models.answers.calibration import Calibration, Method

FOLDS = 5
# Fewer images say nothing about probabilities.
LEAST_IMAGES = 50
# Logarithms of scales stay within e^-6..e^6, however few images speak for certainty.
LARGEST_LOG_SCALE = 6.0
# Pulls the scales of single classes towards each other, as each is seen by few images.
VECTOR_PENALTY = 1e-3
STEPS = 100
# Random thirds that sets are measured on.
SPLITS = 10


@dataclass(frozen=True)
class CalibrationReport:
    """What `calibrate` answers.

    Attributes:
        calibration: fitted on all images, or with sets on a half of them, the sets on the other half.
        before, after: figures; after on images that weren't fitted to (cross-fitted).
        count: images.
        sets: how the sets do on images that they don't come from, where they were asked for.
        model: what identifies the model, before.
        data: where the images came from, as `eval` tells it.
        warnings: what the user should know, a sentence each.
    """

    calibration: Calibration
    before: Figures
    after: Figures
    count: int
    sets: SetFigures | None = None
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer."""
        return {
            "schema": 1,
            "model": self.model,
            "data": self.data,
            "count": self.count,
            "calibration": self.calibration.describe(),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "sets": self.sets._asdict() if self.sets is not None else None,
            "warnings": list(self.warnings),
        }


def calibrate_logits(
    logits_NK: Tensor,
    labels_N: Tensor,
    *,
    method: Method = "temperature",
    coverage: float | None = None,
    penalty: float | None = None,
    seed: int = 0,
) -> CalibrationReport:
    """Fit a calibration to a model's logits, and measure what it brings.

    Args:
        logits_NK: of images that the model wasn't trained on, float.
        labels_N: their true classes, int64.
        method: `temperature` or `vector`.
        coverage: of conformal sets, in (0, 1); None for no sets.
        penalty: of RAPS; None chooses by the number of classes.
        seed: of folds, halves and bootstrap.
    Raises:
        DataError: too few images.
    """
    count = len(labels_N)
    if count < LEAST_IMAGES:
        raise DataError(f"{count} images are too few to calibrate on", hint=f"use at least {LEAST_IMAGES}, better 500")
    logits_NK = logits_NK.double().cpu()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held_out_NK = torch.empty_like(logits_NK)
    for fold in order.tensor_split(FOLDS):
        rest = order[~torch.isin(order, fold)]
        held_out_NK[fold] = _applied(fit(logits_NK[rest], labels_N[rest], method=method), logits_NK[fold])
    measured: SetFigures | None = None
    if coverage is None:
        found = fit(logits_NK, labels_N, method=method)
    else:
        # Images that shaped the probabilities can't also say how far they may be trusted.
        first, second = order.tensor_split(2)
        found = fit(logits_NK[first], labels_N[first], method=method)
        probabilities_NK = _applied(found, logits_NK[second]).softmax(1)
        sets = fit_sets(probabilities_NK, labels_N[second], coverage=coverage, penalty=penalty)
        found = Calibration(found.method, found.scale, found.offset, found.num_images, sets)
        measured = _measured_sets(logits_NK, labels_N, found, seed)
    return CalibrationReport(
        found,
        before=figures_of(logits_NK, labels_N, seed=seed),
        after=figures_of(held_out_NK, labels_N, seed=seed),
        count=count,
        sets=measured,
    )


def _measured_sets(logits_NK: Tensor, labels_N: Tensor, found: Calibration, seed: int) -> SetFigures | None:
    """The same in thirds: probabilities from the first, the threshold from the second, figures from the last."""
    assert found.sets is not None
    figures: list[SetFigures] = []
    for draw in range(SPLITS):
        order = torch.randperm(len(labels_N), generator=torch.Generator().manual_seed(seed + 1 + draw))
        first, second, last = order.tensor_split(3)
        scaled = fit(logits_NK[first], labels_N[first], method=found.method)
        second_NK, last_NK = (_applied(scaled, logits_NK[part]).softmax(1) for part in (second, last))
        try:
            sets = fit_sets(second_NK, labels_N[second], coverage=found.sets.coverage, penalty=found.sets.penalty)
        except DataError:
            # A third is too little where a half is just enough.
            continue
        figures.append(measure_sets(sets, last_NK, labels_N[last]))
    if not figures:
        return None
    coverage, size, singles = (sum(column) / len(figures) for column in zip(*figures, strict=True))
    return SetFigures(coverage, size, singles)


def fit(logits_NK: Tensor, labels_N: Tensor, *, method: Method) -> Calibration:
    """The scales (and offsets) with the least log loss, by L-BFGS.

    Args:
        logits_NK: float64, finite.
        labels_N: int64.
        method: `temperature` or `vector`.
    """
    num_classes = logits_NK.shape[1]
    width = 1 if method == "temperature" else num_classes
    log_scale = torch.zeros(width, dtype=torch.float64, requires_grad=True)
    offset = torch.zeros(width, dtype=torch.float64, requires_grad=method == "vector")
    parameters = [log_scale] + ([offset] if method == "vector" else [])
    optimizer = torch.optim.LBFGS(parameters, max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        bounded = log_scale.clamp(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)
        loss = cross_entropy(logits_NK * bounded.exp() + offset, labels_N)
        if method == "vector":
            loss = loss + VECTOR_PENALTY * ((log_scale - log_scale.mean()).square().mean() + offset.square().mean())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    scale = log_scale.detach().clamp(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE).exp().tolist()
    return Calibration(method, tuple(scale), tuple(offset.tolist()) if method == "vector" else (), len(labels_N))


def collect_logits(
    run: Callable[[Tensor], Tensor], batches: Any, class_map: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Logits and labels of batches, on the CPU.

    Args:
        run: from a batch's images to logits.
        batches: as `LabelledImages.batches` gives them.
        class_map: from the data's classes to the network's outputs; None where they are the same.
    """
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    with torch.inference_mode():
        for batch in batches:
            if len(batch.labels_B):
                logits.append(run(batch.images_BCHW).float().cpu())
                labels.append(batch.labels_B.cpu())
    labels_N = torch.cat(labels)
    return torch.cat(logits), labels_N if class_map is None else class_map[labels_N]


def _applied(calibration: Calibration, logits_NK: Tensor) -> Tensor:
    scale = torch.tensor(calibration.scale, dtype=torch.float64)
    offset = torch.tensor(calibration.offset or (0.0,), dtype=torch.float64)
    return log_softmax(logits_NK * scale + offset, dim=1)
