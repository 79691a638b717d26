"""Everything that has a name for `--model`, as a list: figures, and whether the weights are here. Builds no model.

torchvision's catalogue is read from torchvision itself, which takes a second, and remembered for as long as that
version is installed.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from imgcls.errors import ImgclsError, OutputError
from imgcls.host import cache_folders
from imgcls.host.digests import file_sha256
from imgcls.host.files import write_text
from imgcls.host.versions import versions
from imgcls.images.transform import Transform
from imgcls.models.entries import BUNDLED, PretrainedEntry
from imgcls.models.weights_cache import digits_in_name, weights_path

SCHEMA = 1
MIB = 2**20
# `here`: and its SHA-256 is what it should be, as far as that is published.
WeightsState = Literal["here", "absent", "damaged"]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One name that `--model` accepts.

    Attributes:
        name: what to type.
        source: `bundled` with imgcls, or `torchvision`.
        data: what it was trained on.
        num_params: of the network; None where unknown.
        size_mib: of its weights file.
        top1, top5: published accuracy, as fractions; a bundled model's was measured by its own training; None unknown.
        weights: whether the file is here.
        path: where it is, or would be.
        url: where it is published; empty for a bundled model.
    """

    name: str
    source: Literal["bundled", "torchvision"]
    data: str
    num_params: int | None
    size_mib: float
    top1: float | None
    top5: float | None
    weights: WeightsState
    path: Path
    url: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "path": str(self.path)}


def list_models() -> list[ListedModel]:
    """Bundled models first, then torchvision's by name."""
    return [*_bundled(), *(_published(entry) for entry in torchvision_entries())]


def torchvision_entries() -> list[PretrainedEntry]:
    """The whole catalogue, sorted by name, from memory when it is that of the installed torchvision."""
    remembered = cache_folders.cache_folder() / "catalogue.json"
    version = {key: value for key, value in versions(("torchvision",)).items() if key != "python"}
    try:
        content = json.loads(remembered.read_text(encoding="utf-8"))
        if content["versions"] == version:
            return [_entry(values) for values in content["entries"]]
    except (OSError, ValueError, KeyError, TypeError, ImgclsError):
        # Not there yet, or damaged: read again and written anew.
        pass
    from imgcls.models.torchvision_models import catalogue_entry, pretrained_names

    entries = [catalogue_entry(name) for name in pretrained_names()]
    values = [{**asdict(entry), "transform": entry.transform.to_dict()} for entry in entries]
    # A cache that can't be written costs time, never the answer.
    with contextlib.suppress(OutputError):
        write_text(remembered, json.dumps({"versions": version, "entries": values}))
    return entries


def weights_state(path: Path) -> WeightsState:
    """Whether a published file is here with the SHA-256 that its name tells, computed once per version of the file."""
    if not path.is_file():
        return "absent"
    try:
        return "here" if file_sha256(path).startswith(digits_in_name(path.name)) else "damaged"
    except OSError:
        return "damaged"


def _entry(values: dict[str, Any]) -> PretrainedEntry:
    return PretrainedEntry(**{**values, "transform": Transform.from_dict(values["transform"])})


def _published(entry: PretrainedEntry) -> ListedModel:
    path = weights_path(entry)
    return ListedModel(
        name=entry.name,
        source="torchvision",
        data="ImageNet-1K",
        num_params=entry.num_params,
        size_mib=entry.size_mib,
        top1=entry.top1,
        top5=entry.top5,
        weights=weights_state(path),
        path=path,
        url=entry.url,
    )


def _bundled() -> Iterator[ListedModel]:
    for name in BUNDLED:
        path = Path(str(resources.files("imgcls.models").joinpath("bundled", f"{name}.pt")))
        if not path.is_file():
            yield ListedModel(name, "bundled", "", None, 0.0, None, None, "absent", path, "")
            continue
        facts = _checkpoint_facts(path)
        yield ListedModel(
            name=name,
            source="bundled",
            data=facts.get("data", ""),
            num_params=facts.get("num_params"),
            size_mib=path.stat().st_size / MIB,
            top1=facts.get("top1"),
            top5=facts.get("top5"),
            weights="here",
            path=path,
            url="",
        )


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
