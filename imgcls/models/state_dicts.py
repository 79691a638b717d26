"""Weights that people saved elsewhere, in whatever they wrapped them."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from torch import Tensor

from imgcls.errors import ModelError
from imgcls.host.tensor_files import load_tensors

# What DataParallel puts before every name.
PARALLEL = "module."


def load_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a file of weights; see `load_tensors` and `state_dict_of` for errors."""
    return state_dict_of(load_tensors(path), path)


def state_dict_of(content: Any, path: Path) -> dict[str, Tensor]:
    """The state_dict in a file: plain, or under `state_dict` or `model`, with or without DataParallel's prefix.

    Raises:
        ModelError: the file holds something else.
    """
    if isinstance(content, dict) and "format_version" in content:
        raise ModelError(f"{path} is a whole checkpoint, not a state_dict", hint=f"use --model {path}")
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(f"{path} holds no state_dict", hint="save one: torch.save(model.state_dict(), FILE)")
    state = OrderedDict((str(key).removeprefix(PARALLEL), value) for key, value in content.items())
    layout = getattr(content, "_metadata", None)
    if isinstance(layout, dict):
        # Versions of the layout, by module; the network itself is the one without a name.
        state._metadata = {  # type: ignore[attr-defined]
            "" if key == PARALLEL[:-1] else str(key).removeprefix(PARALLEL): value for key, value in layout.items()
        }
    return state
