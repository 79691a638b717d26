"""Weights that people saved elsewhere: out of whatever they are wrapped in, under the names that the network knows.

Read here: plain state_dicts and safetensors; checkpoints of torchvision's and timm's training scripts, of PyTorch's
ImageNet example, of Lightning and of many tutorials; with the prefixes that DataParallel, DDP, torch.compile and SWA
leave behind.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imgcls.errors import ModelError
from imgcls.host.tensor_files import load_tensors

SAFETENSORS = ".safetensors"
# The keys under which training scripts put a state_dict, and its exponential moving average.
RAW_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "params", "weights")
EMA_KEYS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema")
# Deeper wrappings than `{"model": {"state_dict": ...}}` are no checkpoint's.
MAX_DEPTH = 4
# Modules that wrap another one, wherever in the network: DataParallel, DDP and SWA; torch.compile.
WRAPPING_MODULES = ("module", "_orig_mod")
# Attributes under which people and Lightning keep the network inside of their own module.
ATTRIBUTES = ("model", "net", "network", "backbone", "encoder")
# What SWA's averaged model and profilers add beside the weights.
STRAY_KEYS = ("n_averaged", "total_ops", "total_params")
# A tensor may be a view of a smaller memory, but one of many times its size only costs memory.
MAX_EXPANSION = 16


@dataclass(frozen=True)
class FoundWeights:
    """A state_dict, and what was done to get it.

    Attributes:
        tensors: under the names of the file, without the wrapping.
        remarks: one line for each thing that was left out or renamed.
    """

    tensors: Mapping[str, Tensor]
    remarks: tuple[str, ...] = ()


def load_state_dict(path: Path, *, ema: bool = False) -> FoundWeights:
    """Read a file of weights, whichever tool wrote it; never runs its code.

    Args:
        path: as `torch.save` writes it, or `.safetensors`.
        ema: take the exponential moving average that the file holds beside the weights.
    Raises:
        ModelError: missing, damaged, or it holds no weights.
    """
    content = _load_safetensors(path) if path.suffix.lower() == SAFETENSORS else load_tensors(path)
    return state_dict_of(content, path, ema=ema)


def state_dict_of(content: Any, path: Path, *, ema: bool = False) -> FoundWeights:
    """The state_dict in the content of a file.

    Args:
        content: what was read.
        path: of the file, for messages.
        ema: take the exponential moving average.
    Raises:
        ModelError: there is none.
    """
    if isinstance(content, dict) and "format_version" in content:
        raise ModelError(f"{path} is a whole checkpoint, not a state_dict", hint=f"use --model {path}")
    remarks: list[str] = []
    found_ema = False
    for _depth in range(MAX_DEPTH):
        if not isinstance(content, dict):
            break
        inside = {key: content[key] for key in (*RAW_KEYS, *EMA_KEYS) if isinstance(content.get(key), dict)}
        averaged = [key for key in inside if key in EMA_KEYS]
        raw = [key for key in inside if key in RAW_KEYS]
        order = [*averaged, *raw] if ema else [*raw, *averaged]
        if not order:
            break
        found_ema |= order[0] in EMA_KEYS
        content = inside[order[0]]
        remarks.append(f"weights taken from {order[0]!r}")
        if not ema and averaged and raw:
            remarks.append(f"it also holds an EMA of them, under {averaged[0]!r}: --ema takes that")
    if ema and not found_ema:
        raise ModelError(f"{path} holds no EMA of its weights", hint="leave out --ema")
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(f"{path} holds no state_dict", hint="save one: torch.save(model.state_dict(), FILE)")
    state = OrderedDict((str(key), value) for key, value in content.items())
    check_tensors(state, path)
    if isinstance(layout := getattr(content, "_metadata", None), dict):
        state._metadata = layout  # type: ignore[attr-defined]
    return FoundWeights(state, tuple(remarks))


def check_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that no layer has: complex, sparse, quantised, without memory, or far larger than their memory.

    Raises:
        ModelError: names the first.
    """
    for key, tensor in state.items():
        wrong = _what_is_wrong(tensor)
        if wrong:
            raise ModelError(f"{path}: {str(key)[:100]} is {wrong}", hint="save the network's plain state_dict")


def _what_is_wrong(tensor: Tensor) -> str:
    if tensor.layout is not torch.strided:
        return "a sparse tensor"
    if tensor.device.type != "cpu":
        return f"a tensor on {tensor.device.type}, without its values"
    if tensor.is_complex() or tensor.is_quantized:
        return f"a tensor of {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.nbytes > MAX_EXPANSION * max(tensor.untyped_storage().nbytes(), 1024):
        return f"a tensor of shape {tuple(tensor.shape)} over {tensor.untyped_storage().nbytes()} bytes"
    return ""


def fit_names(
    found: FoundWeights, expected: Sequence[str], *, current_name: Callable[[str], str] = str
) -> FoundWeights:
    """The same weights under the names that a network knows.

    Args:
        found: as `state_dict_of` gives them.
        expected: the names in the network's own state_dict.
        current_name: what the network now calls a tensor of an older file.
    Raises:
        ModelError: the file holds two networks, and nothing tells which one is meant.
    """
    known = set(expected)
    remarks = list(found.remarks)
    parts = {part for name in expected for part in name.split(".")}
    wrappers = [name for name in WRAPPING_MODULES if name not in parts]
    names = {key: _without(key, wrappers) for key in found.tensors}
    for wrapper in wrappers:
        if any(wrapper in key.split(".") for key in found.tensors):
            remarks.append(f"{wrapper + '.'!r} stripped from the names")
    prefix = _best_prefix([current_name(name) for name in names.values()], known)
    if prefix:
        remarks.append(f"{prefix!r} stripped from the names")
    fitted: OrderedDict[str, Tensor] = OrderedDict()
    left_out: list[str] = []
    for key, name in names.items():
        own = current_name(name.removeprefix(prefix))
        is_beside = own not in known and (bool(prefix) and not name.startswith(prefix))
        if is_beside or (own not in known and name.rpartition(".")[2] in STRAY_KEYS):
            left_out.append(key)
        elif own in fitted:
            raise ModelError(f"the file holds {own!r} twice", hint="save the one network alone")
        else:
            fitted[own] = found.tensors[key]
    if left_out:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        remarks.append(f"left out: {', '.join(left_out[:3])}{more}")
    if isinstance(layout := getattr(found.tensors, "_metadata", None), dict):
        # Versions of the layout, by module; the network itself is the one without a name.
        fitted._metadata = {  # type: ignore[attr-defined]
            _without(str(key), wrappers).removeprefix(prefix.removesuffix(".")).removeprefix("."): value
            for key, value in layout.items()
        }
    return FoundWeights(fitted, tuple(remarks))


def _without(key: str, wrappers: Sequence[str]) -> str:
    return ".".join(part for part in key.split(".") if part not in wrappers)


def _best_prefix(names: Sequence[str], known: set[str]) -> str:
    """The attributes in front of the names that the network knows; empty where most are known as they are."""
    matches: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for depth in range(len(parts)):
            if depth and parts[depth - 1] not in ATTRIBUTES:
                break
            if ".".join(parts[depth:]) in known:
                matches["".join(f"{part}." for part in parts[:depth])] += 1
    if not matches:
        return ""
    most = max(matches.values())
    best = sorted(
        (prefix for prefix, count in matches.items() if count == most), key=lambda prefix: (len(prefix), prefix)
    )
    if len(best) > 1 and best[0]:
        raise ModelError(
            f"the file holds several networks: {', '.join(prefix.removesuffix('.') for prefix in best)}",
            hint="save the state_dict of one of them",
        )
    return best[0]


def _load_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as exc:
        raise ModelError(f"{path} needs the package safetensors", hint="pip install safetensors") from exc
    if not path.is_file():
        raise ModelError(f"no such weights file: {path}", hint="check the path")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as exc:
        raise ModelError(f"{path} can't be read: {exc}", hint="the file is damaged; fetch it again") from exc
