"""What a family of networks is: a source that knows names and makes them networks. Nothing here imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from imgcls.errors import ModelError
from imgcls.host.digests import file_sha256
from imgcls.images.transform import Transform

if TYPE_CHECKING:
    from torch import Tensor, nn

# `here`: and its SHA-256 is what it should be, as far as that is published.
WeightsState = Literal["here", "absent", "damaged"]
DownloadProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One name that `--model` accepts, as `imgcls models` shows it.

    Attributes:
        name: what to type.
        source: the family: `bundled`, `imagenet`, `torchvision` or `timm`.
        data: what it was trained on.
        num_params: of the network; None where unknown.
        size_mib: of its weights file; None where unknown.
        top1, top5: published accuracy, as fractions; a bundled model's was measured by its own training; None unknown.
        weights: whether the file is here.
        path: where it is, or would be.
        url: where it is published; empty for a bundled model.
    """

    name: str
    source: str
    data: str
    num_params: int | None
    size_mib: float | None
    top1: float | None
    top5: float | None
    weights: WeightsState
    path: Path
    url: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True, slots=True)
class PretrainedEntry:
    """What a family publishes about one network's trained weights.

    Attributes:
        name: of the network, as `--model` takes it.
        url: where the weights are published; for torchvision its last part is the cached file's name and holds the
            first digits of the file's SHA-256.
        transform: the preprocessing that they were measured with.
        num_params: of the whole network; None where unknown.
        size_mib: of the weights file, in MiB; None where unknown.
        top1, top5: published accuracy on ImageNet's validation set, as fractions; None where unknown.
        weights_name: which of the network's weights these are, as the family names them.
        classes: labels in the order of the outputs; empty for ImageNet's thousand.
        arguments: of the builder, where the weights need other ones than its defaults.
        network: what builds without asking anybody, where that isn't `name` (a repository of the hub).
    """

    name: str
    url: str
    transform: Transform
    num_params: int | None = None
    size_mib: float | None = None
    top1: float | None = None
    top5: float | None = None
    weights_name: str = ""
    classes: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    network: str = ""

    def listed(self, source: str, *, weights: WeightsState, path: Path) -> ListedModel:
        """This network as `imgcls models` shows it.

        Args:
            source: the family.
            weights: whether the file is here.
            path: where it is, or would be.
        """
        return ListedModel(
            name=self.name,
            source=source,
            data="ImageNet-1K",
            num_params=self.num_params,
            size_mib=self.size_mib,
            top1=self.top1,
            top5=self.top5,
            weights=weights,
            path=path,
            url=self.url,
        )


class Family(ABC):
    """A source of networks. What most families share is written here once; each overrides what differs.

    Attributes:
        source: its name in `imgcls models`.
    """

    source: ClassVar[str]

    @abstractmethod
    def knows(self, name: str) -> bool:
        """Whether a network of that name is this family's to build; a well-formed unknown name of a prefix counts."""

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Every name, for the list, completion and suggestions; without torch once it is remembered."""

    def known_names(self) -> Sequence[str]:
        """The names that can be told at once, for completion in a shell."""
        return self.names()

    def entry(self, name: str, weights_name: str = "") -> PretrainedEntry:
        """What is published about a network's trained weights.

        Args:
            name: one that this family knows.
            weights_name: which of them; empty for the network's default ones.
        Raises:
            ModelError: there are none, or none of that name.
        """
        raise ModelError(
            f"nobody publishes weights of {name!r}",
            hint="name a checkpoint or a run's folder; imgcls models lists what has weights",
        )

    def weights_file(self, entry: PretrainedEntry, *, progress: DownloadProgress | None = None) -> Path:
        """The file of trained weights, verified; fetched first where the family can.

        Raises:
            ModelError: it is missing and can't be fetched, or it is damaged.
        """
        raise NotImplementedError(f"{self.source} publishes no weights")

    def weights_state(self, entry: PretrainedEntry) -> WeightsState:
        """Whether `weights_file` would find them here, without the network."""
        return "absent"

    def weights_revision(self, file: Path) -> str:
        """Which version of a repository a file of `weights_file` is from; empty where files have no versions."""
        return ""

    @abstractmethod
    def build(self, name: str, *, num_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
        """An untrained network, on the current default device.

        Raises:
            ModelError: it doesn't take the arguments.
        """

    def current_name(self, key: str) -> str:
        """What the network now calls a tensor of a published file."""
        return key

    def arguments_of(self, name: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Arguments of the builder that the tensors of a file ask for."""
        return {}

    def fit(self, network: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The weights in the shapes that this network takes, such as a transformer's positions at another size.

        Raises:
            ModelError: they can't be brought to it.
        """
        return state

    def for_answers(self, network: nn.Module) -> nn.Module:
        """The network with one output, without what only its first training used."""
        return network

    def training_arguments(self, name: str, *, trained: bool) -> dict[str, Any]:
        """Arguments of the builder for training, where they differ from its defaults.

        Args:
            name: of the network.
            trained: whether it begins with trained weights.
        """
        return {}

    def size_argument(self, name: str) -> str | None:
        """What the builder calls the size of the images, of a network that takes but one size."""
        return None

    def listed(self, pattern: str = "*") -> Iterable[ListedModel]:
        """Its models whose name fits the pattern, for `imgcls models`."""
        return ()


def state_of(path: Path, digits: str) -> WeightsState:
    """Whether a file is here whose SHA-256 begins with these digits, computed once per version of the file."""
    try:
        if not path.is_file():
            return "absent"
        return "here" if file_sha256(path).startswith(digits) else "damaged"
    except OSError:
        return "damaged"
