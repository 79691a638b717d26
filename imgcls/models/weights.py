"""Pretrained weights on disk: found in torch.hub's cache and checked, or downloaded."""

from collections.abc import Callable
from pathlib import Path

from imgcls.models.pretrained import PretrainedEntry


def cached_weights(entry: PretrainedEntry, *, progress: Callable[[int, int | None], None] | None = None) -> Path:
    """The path of a network's verified weights file, downloaded first if it isn't in the cache."""
    raise NotImplementedError
