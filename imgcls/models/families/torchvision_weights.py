"""torchvision's own list of classifiers with their weights, remembered for as long as that version is installed."""

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imgcls.errors import ImgclsError, ModelError, OutputError
from imgcls.host import cache_folders
from imgcls.host.files import write_text
from imgcls.host.versions import versions
from imgcls.images.transform import Transform
from imgcls.models.families.family import PretrainedEntry


def pretrained_names() -> list[str]:
    """Every torchvision classifier, sorted; imports torchvision."""
    import torchvision.models

    return sorted(torchvision.models.list_models(module=torchvision.models))


def catalogue_entry(name: str, weights_name: str = "") -> PretrainedEntry:
    """What torchvision itself says of a classifier's weights; see `Family.entry`."""
    import torchvision.models

    check_known(name)
    published = torchvision.models.get_model_weights(name)
    if weights_name and weights_name not in published.__members__:
        raise ModelError(
            f"{name!r} has no weights called {weights_name!r}",
            hint=f"there are: {', '.join(published.__members__)}",
        )
    weights = published[weights_name] if weights_name else published.DEFAULT
    preset = weights.transforms()
    metrics = weights.meta["_metrics"]["ImageNet-1K"]
    return PretrainedEntry(
        name=name,
        url=weights.url,
        transform=Transform(
            resize_px=preset.resize_size[0],
            crop_px=preset.crop_size[0],
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            interpolation=preset.interpolation.value,
        ),
        num_params=weights.meta["num_params"],
        size_mib=weights.meta["_file_size"],
        top1=round(metrics["acc@1"] / 100, 5),
        top5=round(metrics["acc@5"] / 100, 5),
        weights_name=weights.name,
    )


def torchvision_entries() -> list[PretrainedEntry]:
    """The whole catalogue, sorted by name, from memory when it is that of the installed torchvision."""
    if (known := remembered_entries()) is not None:
        return known
    entries = [catalogue_entry(name) for name in pretrained_names()]
    values = [{**asdict(entry), "transform": entry.transform.to_dict()} for entry in entries]
    # A cache that can't be written costs time, never the answer.
    with contextlib.suppress(OutputError):
        write_text(_catalogue_file(), json.dumps({"versions": _version(), "entries": values}))
    return entries


def remembered_entries() -> list[PretrainedEntry] | None:
    try:
        content = json.loads(_catalogue_file().read_text(encoding="utf-8"))
        return [_entry(values) for values in content["entries"]] if content["versions"] == _version() else None
    except (OSError, ValueError, KeyError, TypeError, ImgclsError):
        # Not there yet, or damaged: read again and written anew.
        return None


def _catalogue_file() -> Path:
    return cache_folders.cache_folder() / "catalogue.json"


def _version() -> dict[str, str]:
    return {key: value for key, value in versions(("torchvision",)).items() if key != "python"}


def _entry(values: dict[str, Any]) -> PretrainedEntry:
    classes = tuple(values.get("classes", ()))
    return PretrainedEntry(**{**values, "transform": Transform.from_dict(values["transform"]), "classes": classes})


def check_known(name: str) -> None:
    # torchvision's own look-up also finds detectors, segmenters and quantised networks.
    if name not in pretrained_names():
        raise ModelError(f"unknown model {name!r}", hint="imgcls models lists the names")
