"""A torch.export program as a network.

Shapes: B batch, C channels (1 or 3), H height, W width, K classes.
"""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from imgcls.errors import DeviceError, ModelError
from imgcls.models.exported import ExportedNetwork
from imgcls.models.model_card import ModelCard


class ProgramNetwork(ExportedNetwork):
    """A torch.export program, on the CPU.

    Args:
        path: the file; loading it can run code that is in it.
        card: what it says of itself.
        sha256: of the file.
        device: `auto` or `cpu`.
    Raises:
        ModelError: the file is damaged, or another version of torch wrote it.
        DeviceError: another device was asked for.
    """

    def __init__(self, path: Path, card: ModelCard, *, sha256: str, device: str = "auto") -> None:
        if device not in ("auto", "cpu"):
            raise DeviceError(f"{path} runs on the CPU, not on {device}", hint="leave out --device")
        super().__init__(path, card, sha256=sha256, runtime="torch-export")
        self._program = load_program(path, card)

    def on(self, device: str) -> Self:
        """The same file elsewhere, which it can't be."""
        return type(self)(self.path, self.card, sha256=self.sha256, device=device)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, shape (batch, K)."""
        return self._program(images_BCHW.contiguous())


def load_program(path: Path, card: ModelCard) -> Callable[[Tensor], Tensor]:
    """The program in a file, ready to be called.

    Raises:
        ModelError: it can't be loaded; with both versions of torch, where they differ.
    """
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            # Its call alone: as a part of another module it would refuse to be put into eval mode, where it is already.
            call: Callable[[Tensor], Tensor] = torch.export.load(io.BytesIO(file.read())).module().__call__
            return call
    except Exception as exc:
        raise ModelError(
            f"{path} can't be read: {str(exc).partition(chr(10))[0]}{versions_note(card)}",
            hint="export the model again"
            + (f", or pip install torch=={card.versions['torch']}" if versions_note(card) else ""),
        ) from exc


def versions_note(card: ModelCard) -> str:
    """Which torch wrote the file and which one is here; empty where they are the same."""
    written, here = card.versions.get("torch", "").partition("+")[0], str(torch.__version__).partition("+")[0]
    return f" (written by torch {written}, and this is {here})" if written and written != here else ""
