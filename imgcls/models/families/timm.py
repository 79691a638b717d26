"""timm's catalogue, and models of its kind on the Hugging Face hub: `timm/NAME[.TAG]`, `hf-hub:ORG/NAME[@REVISION]`.

Needs the extra `timm`. Weights come through huggingface_hub and its cache, as safetensors only; the hub's SHA-256 is
checked before they are trusted.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls.errors import ModelError, OutputError
from imgcls.host import cache_folders
from imgcls.host.files import write_text
from imgcls.host.versions import versions
from imgcls.models.families.family import (
    DownloadProgress,
    Family,
    ListedModel,
    PretrainedEntry,
    WeightsState,
    state_of,
)
from imgcls.models.families.hub import cached_file, fetch_file, revision_of
from imgcls.models.families.timm_config import HUB_NAME, HUB_PREFIX, PREFIX, hub_entry, import_timm, timm_entry

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "model.safetensors"
# The hub names a large file's copy in the cache by its SHA-256.
SHA256 = re.compile(r"[0-9a-f]{64}")


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
            return hub_entry(name)
        timm = import_timm()
        plain = name.removeprefix(PREFIX)
        config = timm.models.get_pretrained_cfg(plain) if timm.is_model(plain.partition(".")[0]) else None
        if config is None:
            near = timm.list_pretrained(f"{plain.partition('.')[0]}*")[:3] or timm.list_models(f"*{plain}*")[:3]
            meant = " or ".join(f"'{PREFIX}{each}'" for each in near)
            raise ModelError(
                f"unknown model {name!r}" + (f"; did you mean {meant}?" if meant else ""),
                hint="imgcls models --source timm 'convnext*' lists names",
            )
        return timm_entry(f"{PREFIX}{config.architecture}", name, config.to_dict(), {})

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
        timm = import_timm()
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
        config = import_timm().models.get_pretrained_cfg(plain) if name.startswith(PREFIX) else None
        return "img_size" if config is not None and config.fixed_input_size else None

    def listed(self, pattern: str = "*") -> Iterator[ListedModel]:
        """Only where they are asked for: there are some two thousand."""
        if not pattern.startswith(PREFIX):
            return
        timm = import_timm()
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


def _version() -> dict[str, str]:
    return {key: value for key, value in versions(("timm",)).items() if key != "python"}


def _names_file() -> Path:
    return cache_folders.cache_folder() / "timm-names.json"
