"""What timm, or a repository of the Hugging Face hub, says of a network of timm's: its transform and its classes."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from imgcls.errors import ModelError
from imgcls.images.transform import Transform
from imgcls.models.families.family import PretrainedEntry
from imgcls.models.families.hub import INSTALL, fetch_file

PREFIX, HUB_PREFIX = "timm/", "hf-hub:"
CONFIG = "config.json"
HUB_NAME = re.compile(r"hf-hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
RESIZES = {"center": "crop", "squash": "squash", "border": "pad"}


def import_timm() -> Any:
    """The package.

    Raises:
        ModelError: it isn't installed.
    """
    try:
        import timm
        import timm.data
    except ImportError as exc:
        raise ModelError("timm is not installed", hint=INSTALL) from exc
    return timm


def hub_entry(name: str) -> PretrainedEntry:
    """What the `config.json` of a repository says."""
    found = HUB_NAME.fullmatch(name)
    if found is None:
        raise ModelError(f"{name!r} names no repository of the hub", hint="hf-hub:ORG/NAME")
    address = found["repo"] + (f"@{found['revision']}" if found["revision"] else "")
    path = fetch_file(address, CONFIG)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = dict(content.get("pretrained_cfg", content))
        for key in ("num_classes", "label_names", "label_descriptions"):
            if key in content:
                config[key] = content[key]
        architecture = str(content["architecture"])
        arguments = dict(content.get("model_args") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ModelError(f"{name} is no model of timm: {path} says no architecture", hint="see its page") from exc
    return timm_entry(f"{PREFIX}{architecture}", name, {**config, "hf_hub_id": address}, arguments)


def timm_entry(network: str, name: str, config: Mapping[str, Any], arguments: Mapping[str, Any]) -> PretrainedEntry:
    """Of a network by what its configuration says.

    Raises:
        ModelError: it says nothing that can be used.
    """
    timm = import_timm()
    try:
        data = timm.data.resolve_data_config({}, pretrained_cfg=dict(config))
        channels, height, width = data["input_size"]
        if channels != 3:
            raise ModelError(f"{name} takes images of {channels} channels", hint="choose a model for colour images")
        scale = float(data["crop_pct"])
        mean, std = tuple(map(float, data["mean"])), tuple(map(float, data["std"]))
        transform = Transform(
            resize_px=math.floor(height / scale),
            crop_px=height,
            crop_width_px=width if width != height else None,
            mean=mean,
            std=std,
            interpolation="bilinear" if data["interpolation"] == "random" else data["interpolation"],
            resize=RESIZES[data["crop_mode"]],  # type: ignore[arg-type]
            pad_rgb=tuple(min(255, round(255 * each)) for each in mean),  # type: ignore[arg-type]
        )
        # A file or a page from elsewhere is read as strictly as a stored transform.
        transform = Transform.from_dict(transform.to_dict())
        classes = _classes(config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as exc:
        raise ModelError(f"the configuration of {name} can't be used: {exc}", hint="choose another model") from exc
    return PretrainedEntry(
        name=name,
        url=str(config.get("hf_hub_id") or ""),
        transform=transform,
        weights_name=name,
        classes=classes,
        arguments=dict(arguments),
        network=network,
    )


def _classes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Labels in the order of the outputs; empty for ImageNet's thousand."""
    count = int(config.get("num_classes", 1000))
    if count < 1:
        raise ValueError("it is a backbone without classes; name another tag, such as one that ends with in1k")
    names = config.get("label_names")
    descriptions = config.get("label_descriptions") or {}
    if names:
        found = [str(descriptions.get(name, name)) for name in names]
    elif count == 1000:
        return ()
    else:
        subset = import_timm().data.infer_imagenet_subset(dict(config))
        if subset is None:
            return tuple(f"class {index}" for index in range(count))
        info = import_timm().data.ImageNetInfo(subset)
        names = [info.index_to_label_name(index) for index in range(count)]
        found = [info.index_to_description(index) for index in range(count)]
    if len(names) != count:
        raise ValueError(f"it has {count} classes and names {len(names)}")
    # Two kinds of crane need a name of their own.
    return tuple(found) if len(set(found)) == count else tuple(f"{a} ({b})" for a, b in zip(found, names, strict=True))
