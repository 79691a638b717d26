"""What a frozen backbone makes of every image, computed once instead of in every epoch.

Shapes: N images, B batch, V views (plain, and flipped where images are flipped at random), C channels (3),
H height, W width; a feature has whatever shape the network's head takes.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from imgcls.datasets.labelled_images import Batch, LabelledImages, SplitOf
from imgcls.distributed.process_group import Processes
from imgcls.images.transform import Transform
from imgcls.models.heads import FeatureRecorder
from imgcls.runs.events import ShouldStop
from imgcls.training.precision import Precision

# A small batch on the CPU, which is as fast there, so that a signal is soon heeded.
CPU_BATCH_SIZE = 32
# All features of a split together; beyond that the backbone runs at every step. A fixed number, so that a run that
# goes on elsewhere does the same.
MAX_FEATURE_BYTES = 2**30


class KeptFeatures(SplitOf):
    """A split whose images are features; see `LabelledImages`.

    Args:
        images: the images that the features were made of.
        features_NV: shape (N, V, ...).
        known_N: bool; False for damaged images, which drop out of their batches.
    """

    def __init__(self, images: LabelledImages, features_NV: Tensor, known_N: Tensor) -> None:
        super().__init__(images)
        self.features_NV = features_NV
        self._known_N = known_N

    @property
    def drops_damaged(self) -> bool:
        """See `LabelledImages`."""
        return not bool(self._known_N.all())

    def batches(self, order: Tensor, *, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """See `LabelledImages`; in the place of images, features of all views, shape (batch, V, ...)."""
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            kept = chunk[self._known_N[chunk]]
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
    flipped: bool,
    channels_last: bool,
    should_stop: ShouldStop = lambda: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    processes: Processes | None = None,
) -> KeptFeatures | str | None:
    """Run every image through a network up to its head.

    The batches are always the same, so that the features are, bit for bit, whenever they are computed.

    Args:
        network: on the device, in eval mode.
        images: the images.
        transform: its arithmetic turns bytes into the network's input.
        device: where the network is, and the features stay.
        batch_size: images at once.
        precision: of the arithmetic.
        flipped: whether to keep the features of the flipped image too.
        channels_last: memory layout of the input.
        should_stop: asked after every batch.
        progress: called with images done and in all.
        processes: share the batches out, and all get the result; every one calls this.
    Returns:
        The features; the reason to stop if there was one; or None where they take more than `MAX_FEATURE_BYTES`.
    """
    processes = processes or Processes()
    recorder = FeatureRecorder(network)
    total, done = len(images), 0
    batches = [torch.arange(start, min(start + batch_size, total)) for start in range(0, total, batch_size)]
    own = batches[processes.rank :: processes.count]
    walk = images.batches(torch.cat(own), batch_size=batch_size, device=device) if own else iter(())
    autocast = torch.autocast(device.type, dtype=precision.autocast_dtype, enabled=precision.autocast_dtype is not None)
    parts: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad(), autocast:
        for first in range(0, len(batches), processes.count):
            batch = next(walk, None)
            num_bytes = 0
            if batch is not None and len(batch.indices_B):
                input_BCHW = transform.normalise(batch.images_BCHW)
                views = [input_BCHW, input_BCHW.flip(3)] if flipped else [input_BCHW]
                if channels_last:
                    views = [view.contiguous(memory_format=torch.channels_last) for view in views]
                parts.append((batch.indices_B, torch.stack([recorder(view) for view in views], dim=1)))
                num_bytes = parts[-1][1][0].nbytes
            everybody = processes.gather((should_stop(), num_bytes))
            if max(num for _reason, num in everybody) * total > MAX_FEATURE_BYTES:
                return None
            if reason := next((reason for reason, _num in everybody if reason is not None), None):
                return reason
            done += sum(len(indices) for indices in batches[first : first + processes.count])
            progress(done, total)
    return _assembled(images, parts, device, processes)


def _assembled(
    images: LabelledImages, parts: list[tuple[Tensor, Tensor]], device: torch.device, processes: Processes
) -> KeptFeatures | None:
    if processes.count > 1:
        shared = [(indices_B, features_BV.cpu()) for indices_B, features_BV in parts]
        parts = [part for each in processes.gather(shared) for part in each]
    if not parts:
        return None
    features_NV = parts[0][1].new_zeros(len(images), *parts[0][1].shape[1:], device=device)
    known_N = torch.zeros(len(images), dtype=torch.bool)
    for indices_B, features_BV in parts:
        features_NV[indices_B.to(device)] = features_BV.to(device)
        known_N[indices_B] = True
    return KeptFeatures(images, features_NV, known_N)
