"""Running a PyTorch network."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from imgcls.errors import DeviceError, ModelError
from imgcls.host.devices import choose_device, is_out_of_memory, supports_bfloat16
from imgcls.host.resources import prefer_large_pages
from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.inference.backends import cpu_batches
from imgcls.inference.backends.backend import DeviceMemoryError, LoadedBackend, LoadOptions, Precision
from imgcls.models.answers.calibrated_network import answering
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.loading import load_model

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchBackend:
    """A loaded model on a device.

    Args:
        model: as `load_model` returns it; its network is moved.
        device: where it runs.
        precision: `fp32`; or `bf16` or `fp16`, which are faster and shift the answers a little.
    Raises:
        DeviceError: the device has no such arithmetic.
        DeviceMemoryError: the network doesn't fit into the device's memory.
    """

    def __init__(self, model: LoadedModel, device: torch.device, precision: Precision = "fp32") -> None:
        check_precision(precision, device)
        self.model = model
        self.device = device
        self.precision = precision
        self._at_once: int | None = None
        # Pixels arrive as rows of RGB triples; kept so, convolutions on the CPU run about twice as fast.
        try:
            self._network = answering(model).to(device).to(memory_format=torch.channels_last)
            lower_weights(self._network, precision)
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            raise _no_memory(device, model.id) from exc

    @property
    def id(self) -> str:
        """Name and first digits of the weights' SHA-256."""
        return self.model.id

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self.model.classes

    @property
    def transform(self) -> Transform:
        """The preprocessing that the model was trained for."""
        return self.model.transform

    @property
    def num_threads(self) -> int:
        """Of the CPU, as torch.set_num_threads set them for the calling thread; see `Backend`."""
        return torch.get_num_threads() if self.device.type == "cpu" else 1

    def use_threads(self, count: int) -> None:
        """Set them; see `Backend`."""
        if self.device.type == "cpu":
            torch.set_num_threads(count)

    def keep_in_memory(self) -> None:
        """Copy the weights; see `Backend`."""
        for tensor in (*self._network.parameters(), *self._network.buffers()):
            tensor.data = tensor.data.clone()

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""
        lowered = {} if self.precision == "fp32" else {"precision": self.precision}
        return self.model.describe() | lowered

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Softmax outputs, of multi-label models sigmoid's, float32, shape (batch, num_classes); see `Backend`.

        Raises:
            DeviceMemoryError: the batch doesn't fit into the device's memory.
            ModelError: an output isn't a number.
        """
        try:
            at_once = self._images_at_once(images_BHWC)
            parts = [self._classify(images_BHWC[i : i + at_once]) for i in range(0, len(images_BHWC), at_once)]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            count = len(images_BHWC)
            images = "a single image" if count == 1 else f"{count} images at once"
            raise _no_memory(self.device, f"{self.id} and {images}") from exc

    def _images_at_once(self, images_BHWC: Pixels) -> int:
        count = len(images_BHWC)
        if self.device.type != "cpu" or count <= cpu_batches.USUAL:
            return count
        if self._at_once is None:
            image_1CHW = self.transform.normalise(torch.from_numpy(images_BHWC[:1]).permute(0, 3, 1, 2))
            with self._autocast():
                self._at_once = cpu_batches.images_at_once(self._network, image_1CHW)
        return self._at_once

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, DTYPES.get(self.precision), enabled=self.precision != "fp32")

    @torch.inference_mode()
    def _classify(self, images_BHWC: Pixels) -> Floats:
        images_BCHW = torch.from_numpy(images_BHWC).to(self.device).permute(0, 3, 1, 2)
        input_BCHW = self.transform.normalise(images_BCHW)
        with self._autocast():
            logits_BK = self._network(input_BCHW)
        return probabilities_of(logits_BK, self.id, is_multi_label=self.model.multi_label is not None)


def probabilities_of(logits_BK: torch.Tensor, model_id: str, *, is_multi_label: bool) -> Floats:
    """What a network's outputs mean: softmax, of multi-label models sigmoid, float32, shape (batch, num_classes).

    Raises:
        ModelError: an output isn't a number.
    """
    logits_BK = logits_BK.float()
    probabilities_BK = logits_BK.sigmoid() if is_multi_label else logits_BK.softmax(dim=1)
    if not bool(probabilities_BK.isfinite().all()):
        raise ModelError(
            f"{model_id} answers with values that are not numbers", hint="its weights are damaged; use another model"
        )
    result: Floats = probabilities_BK.cpu().numpy()
    return result


def _no_memory(device: torch.device, what: str) -> DeviceMemoryError:
    elsewhere = "use a smaller model" if device.type == "cpu" else "use --device cpu, or a smaller model"
    return DeviceMemoryError(f"{device} has no memory for {what}", hint=elsewhere)


class LoadedNetwork(NamedTuple):
    """A model in memory, and the device that it is for."""

    model: LoadedModel
    device: torch.device
    reason: str

    def on_its_device(self, precision: Precision, notes: tuple[str, ...] = ()) -> LoadedBackend:
        """As a backend."""
        model = self.model
        remark = f"{model.id} on {self.device} ({self.reason}), weights from {model.weights_path}"
        remark = "; ".join((remark, *model.remarks))
        return LoadedBackend(TorchBackend(model, self.device, precision), str(self.device), remark, notes)


def load_network(model: str, options: LoadOptions) -> LoadedNetwork:
    """A model that PyTorch runs; see `load_backend`."""
    prefer_large_pages()
    choice = choose_device(options.device)
    loaded = load_model(
        model,
        weights=options.weights,
        labels=options.labels,
        ema=options.ema,
        transform=options.transform,
        activation=options.activation,
        output_name=options.output_name,
        progress=options.progress,
    )
    return LoadedNetwork(loaded, choice.device, choice.reason)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse what the device would only emulate, slower than float32.

    Raises:
        DeviceError: says which precision to take instead.
    """
    if precision == "int8":
        raise DeviceError("PyTorch has no int8 here, but ONNX Runtime has", hint="leave out --runtime torch")
    if precision == "bf16" and not supports_bfloat16(device):
        raise DeviceError(f"{device} has no bf16 arithmetic", hint="leave out --precision bf16")
    if precision == "fp16" and device.type == "cpu":
        raise DeviceError(
            "fp16 is for accelerators; a CPU only emulates it",
            hint="--precision bf16" if supports_bfloat16(device) else "leave out --precision fp16",
        )


def lower_weights(network: nn.Module, precision: Precision) -> None:
    """Store the weights of convolutions and linear layers in fewer bits; norms keep theirs.

    Under autocast alone each batch would convert all weights anew: of AlexNet's 61 million, as long as the arithmetic.
    """
    if precision == "fp32":
        return
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and not isinstance(
            module, nn.modules.linear.NonDynamicallyQuantizableLinear
        ):
            module.to(DTYPES[precision])
