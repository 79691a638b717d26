"""torchvision's classifiers: which there are, how they are built, where their weights and transforms come from.

Importing torchvision takes a second. Its catalogue is remembered for as long as that version is installed, and AlexNet,
the default model, needs neither.
"""

from __future__ import annotations

import fnmatch
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls.errors import ModelError
from imgcls.images.transform import Transform
from imgcls.models.families.family import (
    DownloadProgress,
    Family,
    ListedModel,
    PretrainedEntry,
    WeightsState,
    state_of,
)
from imgcls.models.families.torchvision_weights import (
    catalogue_entry,
    check_known,
    remembered_entries,
    torchvision_entries,
)
from imgcls.models.weights.weights_cache import cached_weights, digits_in_name, weights_path

if TYPE_CHECKING:
    from torch import Tensor, nn

# The default model's entry, known without the second that importing torchvision takes; a test compares the two.
ALEXNET = PretrainedEntry(
    name="alexnet",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    transform=Transform(resize_px=256, crop_px=224),
    num_params=61_100_840,
    size_mib=233.087,
    top1=0.56522,
    top5=0.79066,
    weights_name="IMAGENET1K_V1",
)
# What torchvision's own builders change when they load the default weights; without, the state_dict doesn't fit.
PRETRAINED_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "aux_logits": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": True, "init_weights": False},
    "vit_h_14": {"image_size": 518},
}
# Trained without their second outputs: a run has one loss, and the weights then fit the network that predicts. Their
# published weights are for pixels that the network itself brings to another scale.
TWO_OUTPUTS = ("googlenet", "inception_v3")
# What those second outputs are called in their files.
AUXILIARY_PREFIXES = ("aux1.", "aux2.", "AuxLogits.")
# The table of a vision transformer that has one row a patch of the image, and one more.
POSITIONS = "encoder.pos_embedding"
# The published DenseNets are older than torch's rule against dots in the names of modules.
DENSENET_OLD_NAME = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")


class Torchvision(Family):
    """Every classifier of `torchvision.models`."""

    source = "torchvision"

    def knows(self, name: str) -> bool:
        """Neither detectors nor quantised networks."""
        return name == ALEXNET.name or name in self.names()

    def names(self) -> Sequence[str]:
        """Sorted."""
        return [entry.name for entry in torchvision_entries()]

    def known_names(self) -> Sequence[str]:
        """Those that are remembered; AlexNet always."""
        return [entry.name for entry in remembered_entries() or (ALEXNET,)]

    def entry(self, name: str, weights_name: str = "") -> PretrainedEntry:
        """As torchvision publishes it; AlexNet's is known without torchvision."""
        if name == ALEXNET.name and weights_name in ("", ALEXNET.weights_name):
            return ALEXNET
        default = next((entry for entry in torchvision_entries() if entry.name == name), None)
        if default is not None and weights_name in ("", default.weights_name):
            return default
        return catalogue_entry(name, weights_name)

    def weights_file(self, entry: PretrainedEntry, *, progress: DownloadProgress | None = None) -> Path:
        """From torch.hub's cache, or downloaded there."""
        return cached_weights(entry, progress=progress)

    def weights_state(self, entry: PretrainedEntry) -> WeightsState:
        """By the digits in the file's name."""
        path = weights_path(entry)
        return state_of(path, digits_in_name(path.name))

    def build(self, name: str, *, num_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
        """As torchvision builds it for its own weights."""
        if name == ALEXNET.name:
            from imgcls.models.networks.alexnet import AlexNet

            try:
                return AlexNet(num_classes, **arguments)
            except (TypeError, ValueError) as exc:
                raise _not_built(name, exc) from exc
        import torchvision.models

        check_known(name)
        arguments = {**PRETRAINED_ARGUMENTS.get(name, {}), **arguments}
        try:
            network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments)
        except (TypeError, ValueError, AssertionError) as exc:
            raise _not_built(name, exc) from exc
        return network

    def current_name(self, key: str) -> str:
        """DenseNets' tensors have lost a dot.

        Source: torchvision.models.densenet, where the file is loaded.
        """
        old = DENSENET_OLD_NAME.fullmatch(key)
        return old[1] + old[2] if old else key

    def arguments_of(self, name: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Whether GoogLeNet and Inception v3 have their second outputs."""
        return {"aux_logits": any(key.startswith(AUXILIARY_PREFIXES) for key in state)} if name in TWO_OUTPUTS else {}

    def fit(self, network: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Interpolate a vision transformer's positions to another size of image, as torchvision does."""
        wanted, found = network.state_dict().get(POSITIONS), state.get(POSITIONS)
        if wanted is None or found is None or wanted.shape == found.shape:
            return state
        from torchvision.models.vision_transformer import interpolate_embeddings

        try:
            return dict(interpolate_embeddings(network.image_size, network.patch_size, OrderedDict(state)))
        except ValueError as exc:
            raise ModelError(
                f"the positions can't be fitted to {network.image_size} px: {exc}", hint="leave out data.image_px"
            ) from exc

    def for_answers(self, network: nn.Module) -> nn.Module:
        """Take off the second outputs of GoogLeNet and Inception v3, as torchvision does after loading weights."""
        if getattr(network, "aux_logits", False):
            network.aux_logits = False  # type: ignore[assignment]
            for head in ("aux1", "aux2", "AuxLogits"):
                if hasattr(network, head):
                    setattr(network, head, None)
        return network

    def training_arguments(self, name: str, *, trained: bool) -> dict[str, Any]:
        """Without second outputs."""
        return {"aux_logits": False, "transform_input": trained} if name in TWO_OUTPUTS else {}

    def size_argument(self, name: str) -> str | None:
        """Vision transformers and MaxViT have tables as large as the image."""
        if name.startswith("vit_"):
            return "image_size"
        return "input_size" if name == "maxvit_t" else None

    def listed(self, pattern: str = "*") -> Iterator[ListedModel]:
        """The catalogue by name."""
        for entry in torchvision_entries():
            if fnmatch.fnmatchcase(entry.name, pattern):
                yield entry.listed(self.source, weights=self.weights_state(entry), path=weights_path(entry))


def _not_built(name: str, exc: Exception) -> ModelError:
    said = str(exc).partition("\n")[0]
    return ModelError(f"can't build {name!r}: {said}", hint="imgcls models lists the names")
