"""timm's catalogue, and models of its kind on the Hugging Face hub: `timm/NAME[.TAG]`, `hf-hub:ORG/NAME[@REVISION]`.

Needs the extra `timm`. Weights come through huggingface_hub and its cache, as safetensors only; the hub's SHA-256 is
checked before they are trusted.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls.errors import ModelError, OutputError
from imgcls.host import cache_folders
from imgcls.host.files import write_text
from imgcls.host.versions import versions
from imgcls.images.transform import Transform
from imgcls.models.families.family import (
    DownloadProgress,
    Family,
    ListedModel,
    PretrainedEntry,
    WeightsState,
    state_of,
)
from imgcls.models.families.hub import INSTALL, cached_file, fetch_file, revision_of

if TYPE_CHECKING:
    from torch import Tensor, nn

PREFIX, HUB_PREFIX = "timm/", "hf-hub:"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
# The hub names a large file's copy in the cache by its SHA-256.
SHA256 = re.compile(r"[0-9a-f]{64}")
HUB_NAME = re.compile(r"hf-hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
RESIZES = {"center": "crop", "squash": "squash", "border": "pad"}


class Timm(Family):
    """Every network of timm, with the weights that it or the hub names."""

    source = "timm"

    def knows(self, name: str) -> bool:
        """By the prefix."""
        return (name.startswith(PREFIX) and len(name) > len(PREFIX)) or HUB_NAME.fullmatch(name) is not None

    def names(self) -> Sequence[str]:
        """As remembered from the last time that they were listed: asking timm takes seconds."""
        try:
            content = json.loads(_names_file().read_text(encoding="utf-8"))
            return list(map(str, content["names"])) if content["versions"] == _version() else ()
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    def entry(self, name: str, weights_name: str = "") -> PretrainedEntry:
        """From timm's own configuration, or the one beside the weights on the hub."""
        if weights_name and not weights_name.startswith((PREFIX, HUB_PREFIX)):
            raise ModelError(f"{name!r} has no weights called {weights_name!r}", hint=f"leave it out: -m {name}")
        # A network of the hub is timm's own with the hub's weights, which then stand in `weights_name`.
        name = weights_name or name
        if name.startswith(HUB_PREFIX):
            return _hub_entry(name)
        timm = _timm()
        plain = name.removeprefix(PREFIX)
        config = timm.models.get_pretrained_cfg(plain) if timm.is_model(plain.partition(".")[0]) else None
        if config is None:
            near = timm.list_pretrained(f"{plain.partition('.')[0]}*")[:3] or timm.list_models(f"*{plain}*")[:3]
            meant = " or ".join(f"'{PREFIX}{each}'" for each in near)
            raise ModelError(
                f"unknown model {name!r}" + (f"; did you mean {meant}?" if meant else ""),
                hint="imgcls models --source timm 'convnext*' lists names",
            )
        return _entry(f"{PREFIX}{config.architecture}", name, config.to_dict(), {})

    def weights_file(self, entry: PretrainedEntry, *, progress: DownloadProgress | None = None) -> Path:
        """From the hub's cache, or fetched there."""
        if not entry.url:
            raise ModelError(f"nobody publishes weights of {entry.name!r}", hint=f"-m {entry.name} --weights FILE")
        path = fetch_file(entry.url, WEIGHTS, progress)
        digits = path.resolve().name
        if SHA256.fullmatch(digits) and state_of(path, digits) != "here":
            raise ModelError(f"{path} is damaged: its SHA-256 is not {digits[:8]}...", hint=f"delete {path.resolve()}")
        return path

    def weights_state(self, entry: PretrainedEntry) -> WeightsState:
        """By the hub's cache alone."""
        path = cached_file(entry.url, WEIGHTS)
        if path is None:
            return "absent"
        digits = path.resolve().name
        return state_of(path, digits if SHA256.fullmatch(digits) else "")

    def weights_revision(self, file: Path) -> str:
        """The commit on the hub."""
        return revision_of(file)

    def build(self, name: str, *, num_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
        """As timm builds it, without weights."""
        timm = _timm()
        if name.startswith(HUB_PREFIX):
            entry = self.entry(name)
            name, arguments = entry.network, {**entry.arguments, **arguments}
        plain = name.removeprefix(PREFIX)
        if not timm.is_model(plain.partition(".")[0]):
            raise ModelError(f"unknown model {name!r}", hint="imgcls models --source timm lists names")
        try:
            network: nn.Module = timm.create_model(plain, pretrained=False, num_classes=num_classes, **arguments)
        except (TypeError, ValueError, AssertionError, RuntimeError, KeyError) as exc:
            said = str(exc).partition("\n")[0]
            raise ModelError(f"can't build {name!r}: {said}", hint="check [model] in the recipe") from exc
        return network

    def fit(self, network: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Through timm's own converter where names or shapes differ: older files, positions at another size."""
        current = network.state_dict()
        if state.keys() == current.keys() and all(state[key].shape == value.shape for key, value in current.items()):
            return state
        convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        if convert is None:
            return state
        try:
            converted: Mapping[str, Tensor] = convert(dict(state), network)
        except (TypeError, KeyError, ValueError, RuntimeError, AssertionError, IndexError):
            # What doesn't fit is named by the comparison of names that follows.
            return state
        return converted

    def size_argument(self, name: str) -> str | None:
        """Transformers have tables as large as the image."""
        plain = name.removeprefix(PREFIX)
        config = _timm().models.get_pretrained_cfg(plain) if name.startswith(PREFIX) else None
        return "img_size" if config is not None and config.fixed_input_size else None

    def listed(self, pattern: str = "*") -> Iterator[ListedModel]:
        """Only where they are asked for: there are some two thousand."""
        if not pattern.startswith(PREFIX):
            return
        timm = _timm()
        names = [f"{PREFIX}{name}" for name in timm.list_pretrained()]
        # A cache that can't be written costs time, never the answer.
        with contextlib.suppress(OutputError):
            write_text(_names_file(), json.dumps({"versions": _version(), "names": names}))
        plain = pattern.removeprefix(PREFIX)
        # Without a tag a name stands for its default weights, as in --model.
        default = [pattern] if timm.is_model(plain) and timm.models.is_model_pretrained(plain) else []
        for name in default or fnmatch.filter(names, pattern):
            entry = self.entry(name)
            path = cached_file(entry.url, WEIGHTS)
            yield ListedModel(
                name=name,
                source=self.source,
                data=name.partition(".")[2],
                num_params=None,
                size_mib=None,
                top1=None,
                top5=None,
                weights=self.weights_state(entry),
                path=path or Path(entry.url),
                url=f"https://huggingface.co/{entry.url}" if entry.url else "",
            )


def _timm() -> Any:
    try:
        import timm
        import timm.data
    except ImportError as exc:
        raise ModelError("timm is not installed", hint=INSTALL) from exc
    return timm


def _version() -> dict[str, str]:
    return {key: value for key, value in versions(("timm",)).items() if key != "python"}


def _names_file() -> Path:
    return cache_folders.cache_folder() / "timm-names.json"


def _hub_entry(name: str) -> PretrainedEntry:
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
    return _entry(f"{PREFIX}{architecture}", name, {**config, "hf_hub_id": address}, arguments)


def _entry(network: str, name: str, config: Mapping[str, Any], arguments: Mapping[str, Any]) -> PretrainedEntry:
    timm = _timm()
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
        subset = _timm().data.infer_imagenet_subset(dict(config))
        if subset is None:
            return tuple(f"class {index}" for index in range(count))
        info = _timm().data.ImageNetInfo(subset)
        names = [info.index_to_label_name(index) for index in range(count)]
        found = [info.index_to_description(index) for index in range(count)]
    if len(names) != count:
        raise ValueError(f"it has {count} classes and names {len(names)}")
    # Two kinds of crane need a name of their own.
    return tuple(found) if len(set(found)) == count else tuple(f"{a} ({b})" for a, b in zip(found, names, strict=True))
