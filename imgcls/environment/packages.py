"""Whether the packages that imgcls stands on import, and work with each other. Runs in the probing process."""

import contextlib
import importlib.util
import io
import os
import sys
import warnings
from importlib import metadata
from typing import Any

from imgcls.environment.accelerators import REINSTALL
from imgcls.environment.report import Check, Status

ONE_PLACE = f"reinstall both from one place in one command: {REINSTALL}"
# What `import` and compiled code raise when something is wrong; SystemExit comes from packages that give up by exiting.
FAILURES = (Exception, SystemExit)


def check_pillow() -> Check:
    """Import Pillow, and encode and decode an image in each format that photographs come in."""
    data = _installed("pillow", "PIL")
    try:
        from PIL import Image, __version__, features

        data["version"] = __version__
        missing = [name for name in ("jpg", "zlib", "webp") if not features.check(name)]
        for kind in ("PNG", *(() if "jpg" in missing else ("JPEG",))):
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8), (200, 100, 50)).save(buffer, kind)
            buffer.seek(0)
            with Image.open(buffer) as image:
                image.load()
        data["missing_codecs"] = missing
    except FAILURES as exc:
        return broken("pillow", "Pillow", exc, data, "pip install --force-reinstall pillow")
    if missing:
        detail = f"{__version__}, built without {', '.join(missing)}"
        return Check("pillow", Status.WARNING, detail, "pip install --force-reinstall pillow", data)
    return Check("pillow", Status.OK, f"{__version__}, decodes PNG, JPEG and WebP", data=data)


def check_numpy() -> Check:
    """Import NumPy and compute something."""
    data = _installed("numpy")
    try:
        import numpy as np

        data["version"] = np.__version__
        if float((np.arange(6, dtype=np.float32).reshape(2, 3) @ np.ones(3, np.float32)).sum()) != 15:
            raise ArithmeticError("a small product came out wrong")
    except FAILURES as exc:
        return broken("numpy", "NumPy", exc, data, "pip install --force-reinstall numpy")
    return Check("numpy", Status.OK, str(data["version"]), data=data)


def check_torch() -> Check:
    """Import torch, and hand it an array of NumPy's."""
    data = _installed("torch")
    try:
        import torch

        data["version"] = str(torch.__version__)
        cuda, hip = torch.version.cuda, torch.version.hip
        data["build"] = f"CUDA {cuda}" if cuda else f"ROCm {hip}" if hip else "CPU only"
        data["threads"] = torch.get_num_threads()
    except FAILURES as exc:
        missing = isinstance(exc, ModuleNotFoundError) and exc.name == "torch"
        advice = "pip install torch torchvision" if missing else ONE_PLACE
        return broken("torch", "torch", exc, data, advice)
    detail = f"{data['version']}, {data['build']}, {data['threads']} thread(s)"
    try:
        import numpy as np

        torch.from_numpy(np.zeros(3, np.float32)).numpy()
    except FAILURES as exc:
        reason = f"{detail}; it can't share memory with NumPy: {one_line(exc)}"
        return Check("torch", Status.FAULT, reason, "pip install --upgrade numpy torch torchvision", data)
    return Check("torch", Status.OK, detail, data=data)


def check_torchvision() -> Check:
    """Import torchvision and call one of its compiled operators, which a build for another torch does not survive."""
    data = _installed("torchvision")
    # With this torchvision says why it could not load its compiled part, instead of failing at the first call.
    os.environ["TORCHVISION_WARN_WHEN_EXTENSION_LOADING_FAILS"] = "1"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            import torch
            import torchvision
            from torchvision.ops import nms

            data["version"] = str(torchvision.__version__)
            boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.1], [8.0, 8.0, 9.0, 9.0]])
            kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
            if kept != [0, 2]:
                raise ArithmeticError(f"its nms operator kept {kept} of three boxes, not [0, 2]")
        except FAILURES as exc:
            if isinstance(exc, ModuleNotFoundError) and exc.name == "torchvision":
                return broken("torchvision", "torchvision", exc, data, ONE_PLACE)
            said = [str(warning.message) for warning in caught if "extension" in str(warning.message)]
            reason = "; ".join([one_line(exc), *(line.splitlines()[0] for line in said[:1])])
            torch_version = getattr(sys.modules.get("torch"), "__version__", "?")
            detail = f"{data['version'] or 'torchvision'} does not work with torch {torch_version}: {reason}"
            return Check(
                "torchvision", Status.FAULT, detail, f"most likely they come from different builds; {ONE_PLACE}", data
            )
    return Check("torchvision", Status.OK, f"{data['version']}, works with this torch (nms called)", data=data)


def broken(name: str, shown: str, exc: BaseException, data: dict[str, Any], advice: str) -> Check:
    """The fault of a package that is missing or can't be imported."""
    if isinstance(exc, ModuleNotFoundError) and not data["version"]:
        return Check(name, Status.FAULT, f"{shown} is not installed ({one_line(exc)})", advice, data)
    version = f"{data['version']} " if data["version"] else ""
    where = f" (from {data['path']})" if data["path"] else ""
    detail = f"{version}is installed but does not work: {one_line(exc)}{where}"
    return Check(name, Status.FAULT, detail, advice, data)


def one_line(exc: BaseException) -> str:
    """An exception's kind and the first line of its message."""
    text = str(exc).strip()
    return f"{type(exc).__name__}: {text.splitlines()[0]}" if text else type(exc).__name__


def _installed(package: str, module: str = "") -> dict[str, Any]:
    """The version on record and the file that an import would run, found without running it."""
    data: dict[str, Any] = {"version": None, "path": None}
    with contextlib.suppress(metadata.PackageNotFoundError):
        data["version"] = metadata.version(package)
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(module or package)
        data["path"] = spec.origin if spec else None
    return data
