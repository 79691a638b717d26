"""Whatever `--model` names beside ONNX files: with its ONNX twin where that is there and wanted, else with PyTorch."""

from dataclasses import replace

from imgcls.errors import UsageError
from imgcls.inference.backends.backend import LoadedBackend, LoadOptions
from imgcls.twins.cache import Twin
from imgcls.twins.calibration import Calibration
from imgcls.twins.runtime import TwinRequest, find_twin, make_wanted_twin
from imgcls.twins.upcoming import NothingKnown, UpcomingSources


def load(model: str, options: LoadOptions) -> LoadedBackend:
    """A model as a backend; see `load_backend`. Imports torch only where there is no twin."""
    if options.precision == "int8":
        return _load_int8(model, options)
    if options.calibrate is not None:
        raise UsageError("--calibrate goes with --precision int8", hint="leave it out")
    is_plain = all(each is None for each in (options.transform, options.activation, options.output_name))
    if options.precision != "fp32" and options.runtime == "onnx":
        raise UsageError(f"--precision {options.precision} is for PyTorch", hint="leave out --runtime onnx")
    request = TwinRequest(
        spec=model,
        weights=options.weights,
        labels=options.labels,
        ema=options.ema,
        runtime=options.runtime if is_plain and options.precision == "fp32" else "torch",
        device=options.device,
        upcoming=UpcomingSources(options.upcoming) if options.upcoming else NothingKnown(),
        on_step=options.on_step,
    )
    found = find_twin(request)
    if found.twin is not None:
        return _backend(found.twin)
    from imgcls.inference.backends import torch_backend

    network = torch_backend.load_network(model, options)
    if request.runtime == "auto" and network.device.type == "cpu":
        # What looked as if there were an accelerator was none for torch.
        request = replace(request, device="cpu")
        found = find_twin(request)
        if found.twin is not None:
            return _backend(found.twin)
    if not found.is_wanted:
        return network.on_its_device(options.precision, found.notes)
    found = make_wanted_twin(request, network.model, found)
    if found.twin is not None:
        return _backend(found.twin)
    return network.on_its_device(options.precision, found.notes)


def _load_int8(model: str, options: LoadOptions) -> LoadedBackend:
    if options.runtime == "torch":
        raise UsageError("--precision int8 is for ONNX Runtime", hint="leave out --runtime torch")
    request = TwinRequest(
        spec=model,
        weights=options.weights,
        labels=options.labels,
        ema=options.ema,
        runtime="onnx",
        device="cpu" if options.device == "auto" else options.device,
        precision="int8",
        calibration=Calibration(options.calibrate) if options.calibrate is not None else None,
        on_step=options.on_step,
    )
    found = find_twin(request)
    if found.twin is None:
        from imgcls.inference.backends.torch_backend import load_network

        found = make_wanted_twin(request, load_network(model, replace(options, device="cpu")).model, found)
        # Whoever asks for int8 gets it or an error.
        assert found.twin is not None
    return _backend(found.twin)


def _backend(twin: Twin) -> LoadedBackend:
    remark = f"{twin.id} on {twin.device} (onnxruntime), its ONNX twin in {twin.path}"
    return LoadedBackend(twin, twin.device, remark, twin.notes, "onnxruntime")
