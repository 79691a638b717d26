"""Files of tensors and plain values, as `torch.save` writes them; what is read never runs code."""

import argparse
import contextlib
import json
import pickle
import warnings
import zipfile
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch

from imgcls.errors import ModelError
from imgcls.host.digests import CHUNK_BYTES, remembered
from imgcls.host.files import why_unwritten

# What stands in it are class names and a recipe.
MAX_CARD_BYTES = 1 << 24


def load_tensors(path: Path) -> Any:
    """Read a file of tensors and plain values, mapped into memory where its format allows; never runs its code.

    Raises:
        ModelError: missing, unreadable, not such a file, or one that would have to run code.
    """
    try:
        is_file = path.is_file()
    except OSError as exc:
        # A folder on the way that may not be searched, or a name that no file can have.
        raise ModelError(f"{path} can't be read: {exc.strerror}", hint="check the path and its permissions") from exc
    if not is_file:
        raise ModelError(f"no such weights file: {path}", hint="check the path, or list the models: imgcls models")
    try:
        damaged = remembered(path, "#crc32", _find_damaged)
    except OSError as exc:
        raise _unreadable(path, exc.strerror or str(exc)) from exc
    if damaged:
        raise _unreadable(path, f"its part {damaged!r} is not what was written")
    try:
        return _load_mapped(path)
    except pickle.UnpicklingError as exc:
        # Bytes that are no pickle at all end here too, as operands that nobody knows.
        if "Unsupported operand" in str(exc):
            raise _unreadable(path, "not a file that torch.save wrote") from exc
        raise ModelError(
            f"{path} holds more than tensors and plain values, and was not loaded: it could run code",
            hint="save its state_dict alone: torch.save(model.state_dict(), FILE)",
        ) from exc
    except (OSError, RuntimeError) as exc:
        refuse_program(path)
        raise _unreadable(path, str(exc).partition("\n")[0].partition(". ")[0]) from exc
    except Exception as exc:
        # Damaged bytes drive the unpickler into any error there is.
        raise _unreadable(path, "not a file that torch.save wrote, or damaged") from exc


def refuse_program(path: Path) -> None:
    """Say what a torch.export program is, where a file is one.

    PyTorch itself loads it, but not without running what stands in it: it evaluates the sizes of its graph as Python,
    and unpickles its sample inputs freely (torch/_export/serde/serialize.py, torch 2.14).

    Raises:
        ModelError: it is one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            format_file = next((name for name in archive.namelist() if name.endswith("/archive_format")), None)
            if format_file is None or archive.getinfo(format_file).file_size > MAX_CARD_BYTES:
                return
            if archive.read(format_file).strip() != b"pt2":
                return
            cards = [name for name in archive.namelist() if name.endswith("/extra/imgcls.json")]
            is_small = bool(cards) and archive.getinfo(cards[0]).file_size <= MAX_CARD_BYTES
            card = json.loads(archive.read(cards[0])) if is_small else {}
            origin = f" of {card['name']}@{card['weights_sha256'][:12]}" if card else ""
    except Exception:
        # Whatever is wrong with it is said where it is read as what it should be.
        return
    raise ModelError(
        f"{path} is a torch.export program{origin}, which is loaded by that suffix (.pt2) only: that could run code",
        hint=f"use the model that it came from, or export that as ONNX: imgcls export MODEL -o {path.stem}.onnx",
    )


def save_tensors(content: dict[str, Any], path: Path) -> None:
    """Write a file of tensors and plain values.

    Raises:
        OSError: it can't be written; a full disk is one, however PyTorch calls it.
    """
    try:
        torch.save(content, path)
    except RuntimeError as exc:
        raise why_unwritten(path, exc) from exc


def _find_damaged(file: BufferedReader) -> str:
    """The first part of an archive whose checksum is wrong, which PyTorch doesn't look at; empty where there is none.

    A file that is no archive, or one without checksums, is left to PyTorch.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ""
    for info in archive.infolist():
        # torch.save writes 0 where it was told to compute none. It never compresses, so that what others compressed
        # can't keep us busy.
        if info.CRC == 0 or info.compress_type != zipfile.ZIP_STORED:
            continue
        try:
            with archive.open(info) as part:
                while part.read(CHUNK_BYTES):
                    pass
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError):
            return info.filename.rpartition("/")[2][:100] or "?"
    return ""


def _load_mapped(path: Path) -> Any:
    with contextlib.ExitStack() as context:
        context.enter_context(warnings.catch_warnings())
        # About other ways to open other kinds of files; what comes of this one is said by the result.
        warnings.simplefilter("ignore")
        # Training scripts save their options beside the weights: names and plain values, no code.
        context.enter_context(torch.serialization.safe_globals([argparse.Namespace]))
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as exc:
            # Files written before torch 1.6 can't be mapped.
            if "mmap can only be used" not in str(exc):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path} can't be read: {reason}", hint="the file is damaged; fetch or train it again")
