"""Our own networks: `mlp` and `cnn`, which recipes train, and the checkpoints that ship inside the package."""

from __future__ import annotations

import contextlib
import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls.errors import ModelError, OutputError
from imgcls.host import cache_folders
from imgcls.host.digests import file_sha256
from imgcls.host.files import write_text
from imgcls.models.families.family import Family, ListedModel

if TYPE_CHECKING:
    from torch import nn

# Shipped inside the package; checkpoints like any other.
BUNDLED = ("cifar10-cnn",)
# Networks of ours that a recipe describes.
OWN = ("mlp", "cnn")
MIB = 2**20
# More than any network of ours is any good with.
MAX_LAYERS = 64


class OwnNetworks(Family):
    """`mlp` and `cnn`: nobody publishes weights of them, but some of their checkpoints ship with imgcls."""

    source = "bundled"

    def knows(self, name: str) -> bool:
        """The networks; a bundled checkpoint is none, but holds one."""
        return name in OWN

    def names(self) -> Sequence[str]:
        """What may be predicted with: the bundled checkpoints."""
        return BUNDLED

    def build(self, name: str, *, num_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
        """See `imgcls.models.networks`."""
        from imgcls.models.networks.cnn import CNN
        from imgcls.models.networks.mlp import MLP

        _check_arguments(name, arguments)
        network: type[nn.Module] = {"mlp": MLP, "cnn": CNN}[name]
        try:
            return network(num_classes, **arguments)
        except (TypeError, ValueError, RuntimeError) as exc:
            raise ModelError(
                f"can't build {name!r} with {dict(arguments)}: {exc}", hint="check [model] in the recipe"
            ) from exc

    def size_argument(self, name: str) -> str | None:
        """The perceptron has a weight per pixel."""
        return "image_px" if name == "mlp" else None

    def listed(self, pattern: str = "*") -> Iterator[ListedModel]:
        """The bundled checkpoints, with what they say of themselves."""
        for name in fnmatch.filter(BUNDLED, pattern):
            path = bundled_checkpoint(name)
            if not path.is_file():
                yield ListedModel(name, self.source, "", None, None, None, None, "absent", path, "")
                continue
            facts = _checkpoint_facts(path)
            yield ListedModel(
                name=name,
                source=self.source,
                data=facts.get("data", ""),
                num_params=facts.get("num_params"),
                size_mib=path.stat().st_size / MIB,
                top1=facts.get("top1"),
                top5=facts.get("top5"),
                weights="here",
                path=path,
                url="",
            )


def _check_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Layers come into being one by one, so that their number is bounded before."""
    depth = arguments.get("depth", 1)
    if type(depth) is not int or not 1 <= depth <= MAX_LAYERS:
        raise ModelError(f"can't build {name!r}: depth = {depth!r} must be 1 to {MAX_LAYERS}", hint="check [model]")
    for key in ("widths", "hidden"):
        sizes = arguments.get(key, (1,))
        is_list = isinstance(sizes, (list, tuple)) and len(sizes) <= MAX_LAYERS
        if not is_list or not all(type(size) is int and size >= 1 for size in sizes) or (key == "widths" and not sizes):
            shown = f"{str(sizes)[:60]}..." if len(str(sizes)) > 60 else str(sizes)
            raise ModelError(
                f"can't build {name!r}: {key} = {shown} must list at most {MAX_LAYERS} sizes of at least 1",
                hint="check [model] in the recipe",
            )


def bundled_checkpoint(name: str) -> Path:
    """Where a checkpoint that ships with imgcls is."""
    return Path(str(resources.files("imgcls.models").joinpath("bundled", f"{name}.pt")))


def _checkpoint_facts(path: Path) -> dict[str, Any]:
    """Parameters and figures of a checkpoint, remembered under its SHA-256: reading it imports torch."""
    remembered = cache_folders.cache_folder() / "checkpoints.json"
    digest = file_sha256(path)
    try:
        known = dict(json.loads(remembered.read_text(encoding="utf-8")))
        return dict(known[digest])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    from imgcls.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    facts = {
        "data": checkpoint.recipe.get("data", {}).get("source", ""),
        # Running means and counts are state, not parameters.
        "num_params": sum(
            tensor.numel()
            for key, tensor in checkpoint.weights.items()
            if "running_" not in key and "num_batches" not in key
        ),
        "top1": checkpoint.metrics.get("top1"),
        "top5": checkpoint.metrics.get("top5"),
    }
    with contextlib.suppress(OutputError):
        write_text(remembered, json.dumps({digest: facts}))
    return facts
