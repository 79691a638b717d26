"""An ExecuTorch program (`.pte`) as a network, run by ExecuTorch's own runtime.

What travels in the file: the card, as a method that answers with its text, so that apps on phones can ask for it; and,
behind the program, the SHA-256 of all before it.

Shapes: B batch, C channels (1 or 3), H height, W width, K classes.
"""

import contextlib
import hashlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from imgcls.errors import DeviceError, ModelError
from imgcls.models.exported import ExportedNetwork
from imgcls.models.model_card import ModelCard

CARD_METHOD, METHOD = "imgcls_card", "forward"
TRAILER = b"imgcls-sha256:"
NUM_TRAILER_BYTES = len(TRAILER) + 64
INSTALL_HINT = "pip install 'imgcls[executorch]'"
AGAIN_HINT = "export the model again, or pip install --upgrade executorch"
_loading = threading.Lock()


class ExecutorchNetwork(ExportedNetwork):
    """A program for one image at a time; several threads may ask it, and wait for each other.

    Args:
        path: the file.
        device: `auto` or `cpu`.
    Raises:
        ModelError: the file is damaged or not of ours, or its runtime isn't installed or too old.
        DeviceError: another device was asked for.
    """

    def __init__(self, path: Path, *, device: str = "auto") -> None:
        if device not in ("auto", "cpu"):
            raise DeviceError(f"{path} runs on the CPU, not on {device}", hint="leave out --device")
        try:
            content = path.read_bytes()
        except OSError as exc:
            raise ModelError(f"{path} can't be read: {exc.strerror}", hint="check that file") from exc
        _check_sum(content, path)
        runtime = load_runtime(str(path))
        try:
            with _loading, quiet_stderr():
                # The program keeps the bytes, so that nobody changes them by writing to the file.
                self._program: Any = runtime.load_program(content)
                names = self._program.method_names
                text = self._program.load_method(CARD_METHOD).execute([])[0] if CARD_METHOD in names else ""
                self._method: Any = self._program.load_method(METHOD) if METHOD in names else None
        except Exception as exc:
            raise ModelError(f"{path} can't be loaded: {_first_line(exc)}", hint=AGAIN_HINT) from exc
        if not text or self._method is None:
            raise ModelError(f"{path} was not written by imgcls", hint="export the model with imgcls export")
        card = ModelCard.from_json(text, source=str(path))
        super().__init__(path, card, sha256=hashlib.sha256(content).hexdigest(), runtime="executorch")
        self._lock = threading.Lock()

    def on(self, device: str) -> Self:
        """The same file elsewhere, which it can't be."""
        return type(self)(self.path, device=device)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, shape (batch, K); one image after the other, each with all cores."""
        images = images_BCHW.cpu().float()
        with self._lock:
            rows = [self._method.execute([image[None].contiguous()])[0].clone() for image in images]
        return torch.cat(rows).to(images_BCHW.device)


def open_exported(path: Path, *, allow_code: bool = False, device: str = "auto") -> ExportedNetwork:
    """See `imgcls.models.exported.open_exported`; a program holds no code, so nobody has to allow any."""
    return ExecutorchNetwork(path, device=device)


def with_sum(program: bytes) -> bytes:
    """A program's bytes, and their SHA-256 behind them, where ExecuTorch doesn't look."""
    return program + TRAILER + hashlib.sha256(program).hexdigest().encode()


def load_runtime(wanted_by: str) -> Any:
    """ExecuTorch's runtime.

    Raises:
        ModelError: it can't be imported.
    """
    try:
        with quiet_imports():
            from executorch.runtime import Runtime

            return Runtime.get()
    except ImportError as exc:
        raise ModelError(f"{wanted_by} needs executorch, which can't be imported: {exc}", hint=INSTALL_HINT) from exc


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Import ExecuTorch without what it and its packages say to their developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what native code writes to stderr off it: five lines about the processor, whatever it is asked for."""
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _check_sum(content: bytes, path: Path) -> None:
    trailer = content[-NUM_TRAILER_BYTES:]
    if not trailer.startswith(TRAILER):
        raise ModelError(
            f"{path} was not written by imgcls, or lacks its end", hint="export the model with imgcls export"
        )
    if hashlib.sha256(content[:-NUM_TRAILER_BYTES]).hexdigest().encode() != trailer[len(TRAILER) :]:
        raise ModelError(f"{path} was changed or damaged after its export", hint="export the model again")


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0] or type(exc).__name__
