"""The model on its way to the workers: once to each node, and checked there."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imgcls.errors import ModelError
from imgcls.host.cache_folders import cache_folder
from imgcls.host.digests import file_sha256
from imgcls.host.files import replacing
from imgcls.inference.backends.backend import Backend, LoadedBackend, LoadOptions, load_backend


@dataclass(frozen=True, slots=True)
class PackedModel:
    """What a worker makes its backend of.

    Attributes:
        model: as the user named it.
        options: how it is loaded; the device is the worker's to choose.
        digest: SHA-256 of the weights, or of the file.
        network: a `LoadedModel`, for PyTorch; None for an ONNX file.
        content: of an ONNX file.
    """

    model: str
    options: LoadOptions
    digest: str
    network: Any = None
    content: bytes = b""


def pack_model(model: str, options: LoadOptions, backend: Backend) -> PackedModel:
    """Make a model ready to travel.

    Args:
        model: as the user named it.
        options: how the workers load it.
        backend: as this process has loaded it.
    """
    options = replace(options, progress=None)
    network = getattr(backend, "model", None)
    if network is not None:
        return PackedModel(model, options, weights_digest(network.network), network)
    path = Path(model)
    return PackedModel(model, options, file_sha256(path), content=path.read_bytes())


def unpack_model(packed: PackedModel) -> LoadedBackend:
    """A backend on this machine's device.

    Raises:
        ModelError: what arrived isn't what was sent.
        DeviceError: the device isn't there.
    """
    if packed.network is not None:
        from imgcls.host.devices import choose_device
        from imgcls.inference.backends.torch_backend import TorchBackend

        if weights_digest(packed.network.network) != packed.digest:
            raise ModelError(f"the weights of {packed.model} changed on their way to a worker", hint="run it again")
        choice = choose_device(packed.options.device)
        backend = TorchBackend(packed.network, choice.device, packed.options.precision)
        return LoadedBackend(backend, str(choice.device), choice.reason)
    path = cache_folder() / "cluster" / f"{packed.digest[:16]}{Path(packed.model).suffix}"
    if not path.is_file() or file_sha256(path) != packed.digest:
        with replacing(path) as part:
            part.write_bytes(packed.content)
        if file_sha256(path) != packed.digest:
            raise ModelError(f"{packed.model} changed on its way to a worker", hint="run it again")
    return load_backend(str(path), packed.options)


def weights_digest(network: Any) -> str:
    """SHA-256 over a network's weights: names, shapes and bytes."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
