"""What a frozen body makes of every picture, computed once instead of in every epoch.

Shapes: N pictures, B batch, V views (plain, and mirrored where pictures are mirrored at random), C channels (3),
H height, W width; a feature has whatever shape the network's head takes.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from imgcls.core.transforms import Transform
from imgcls.data.labelled import Batch, DataDescription, LabelledImages, SkippedImage
from imgcls.models.heads import FeatureRecorder
from imgcls.training.events import ShouldStop
from imgcls.training.precision import Precision

# A small batch on the CPU, which is as fast there, so that a signal is soon heeded.
CPU_BATCH_SIZE = 32
# All features of a split together; beyond that the body runs at every step. A fixed number, so that a run that goes on
# elsewhere does the same.
MAX_FEATURE_BYTES = 2**30


class KeptFeatures:
    """A split whose pictures are features; see `LabelledImages`.

    Args:
        images: the pictures that the features were made of.
        features_NV: shape (N, V, ...).
        known_N: bool; False for damaged pictures, which drop out of their batches.
    """

    def __init__(self, images: LabelledImages, features_NV: Tensor, known_N: Tensor) -> None:
        self._images = images
        self.features_NV = features_NV
        self._known_N = known_N

    def __len__(self) -> int:
        return len(self._images)

    @property
    def classes(self) -> tuple[str, ...]:
        """See `LabelledImages`."""
        return self._images.classes

    @property
    def labels_N(self) -> Tensor:
        """See `LabelledImages`."""
        return self._images.labels_N

    @property
    def description(self) -> DataDescription:
        """See `LabelledImages`."""
        return self._images.description

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """See `LabelledImages`."""
        return self._images.skipped

    def batches(self, order: Tensor, *, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """See `LabelledImages`; in the place of pictures, features of all views, shape (batch, V, ...)."""
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            kept = chunk[self._known_N[chunk]]
            if len(kept):
                features_BV = self.features_NV.index_select(0, kept.to(device))
                yield Batch(features_BV, self.labels_N[kept].to(device), kept)

    def normalise(self, features_BV: Tensor) -> Tensor:
        """In the place of a transform's arithmetic: the plain view, as the head takes it."""
        return features_BV[:, 0]


def keep_features(
    network: nn.Module,
    images: LabelledImages,
    *,
    transform: Transform,
    device: torch.device,
    batch_size: int,
    precision: Precision,
    mirrored: bool,
    channels_last: bool,
    should_stop: ShouldStop = lambda: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> KeptFeatures | str | None:
    """Run every picture through a network up to its head.

    The batches are always the same, so that the features are, bit for bit, whenever they are computed.

    Args:
        network: on the device, in eval mode.
        images: the pictures.
        transform: its arithmetic turns bytes into the network's input.
        device: where the network is, and the features stay.
        batch_size: pictures at once.
        precision: of the arithmetic.
        mirrored: whether to keep the features of the mirrored picture too.
        channels_last: memory layout of the input.
        should_stop: asked after every batch.
        progress: called with pictures done and in all.
    Returns:
        The features; the reason to stop if there was one; or None where they take more than `MAX_FEATURE_BYTES`.
    """
    recorder = FeatureRecorder(network)
    total, features_NV, known_N = len(images), None, torch.zeros(len(images), dtype=torch.bool)
    autocast = torch.autocast(device.type, dtype=precision.autocast_dtype, enabled=precision.autocast_dtype is not None)
    with torch.no_grad(), autocast:
        for batch in images.batches(torch.arange(total), batch_size=batch_size, device=device):
            input_BCHW = transform.normalise(batch.images_BCHW)
            views = [input_BCHW, input_BCHW.flip(3)] if mirrored else [input_BCHW]
            if channels_last:
                views = [view.contiguous(memory_format=torch.channels_last) for view in views]
            features_BV = torch.stack([recorder(view) for view in views], dim=1)
            if features_NV is None:
                if features_BV[0].nbytes * total > MAX_FEATURE_BYTES:
                    return None
                features_NV = features_BV.new_zeros(total, *features_BV.shape[1:])
            features_NV[batch.indices_B.to(device)] = features_BV
            known_N[batch.indices_B] = True
            progress(int(batch.indices_B[-1]) + 1, total)
            if (reason := should_stop()) is not None:
                return reason
    return None if features_NV is None else KeptFeatures(images, features_NV, known_N)
