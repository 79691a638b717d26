"""An AOTInductor package as a network: compiled for one kind of machine and one release of torch.

Shapes: B batch, C channels (1 or 3), H height, W width, K classes.
"""

import platform
import sys
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from imgcls.errors import DeviceError, ModelError
from imgcls.host.resources import available_cores
from imgcls.models.exported import ExportedNetwork, canvases
from imgcls.models.programs.archive import Archive

# As many batches as `BatchExecutor` has in hand at the same time.
MOST_AT_ONCE = 4
# What each set of vector instructions that torch compiles for needs of the processor.
INSTRUCTIONS = {
    "AVX512": "_is_avx512_supported",
    "AVX512_VNNI": "_is_vnni_supported",
    "AVX512_BF16": "_is_avx512_bf16_supported",
    "AVX2": "_is_avx2_supported",
    "AMX_TILE": "_is_amx_tile_supported",
    "AMX_FP16": "_is_amx_fp16_supported",
}


class AotiNetwork(ExportedNetwork):
    """A package of native code; several threads may ask it at the same time.

    Args:
        path: the file; loading it runs the code that is in it.
        archive: what it says of itself.
        sha256: of the file.
        device: `auto`, or the kind of device that it was compiled for.
    Raises:
        ModelError: it was compiled for another machine or another torch, or is damaged.
        DeviceError: another device was asked for, or the one that it needs isn't here.
    """

    def __init__(self, path: Path, archive: Archive, *, sha256: str, device: str = "auto") -> None:
        check_machine(path, archive)
        kind = archive.metadata.get("AOTI_DEVICE_KEY", "cpu")
        if device != "auto" and torch.device(device).type != kind:
            raise DeviceError(f"{path} was compiled for {kind}, not for {device}", hint="leave out --device")
        if kind == "cuda" and not torch.cuda.is_available():
            raise DeviceError(
                f"{path} was compiled for cuda, and there is none here", hint="export it again with --device cpu"
            )
        index = torch.device(device).index if device != "auto" else None
        placed = kind if kind == "cpu" else f"{kind}:{index or 0}"
        super().__init__(path, archive.card, sha256=sha256, runtime="aoti", device=placed)
        self._archive = archive
        self._target = torch.device(placed)
        num_runners = min(available_cores(), MOST_AT_ONCE) if kind == "cpu" else 1
        try:
            # What `torch._inductor.aoti_load_package` wraps, without the two seconds that importing a compiler takes.
            loader = torch._C._aoti.AOTIModelPackageLoader
            self._package: Any = loader(str(path), "model", False, num_runners, -1 if kind == "cpu" else index or 0)
        except Exception as exc:
            raise ModelError(
                f"{path} can't be loaded: {str(exc).strip().partition(chr(10))[0]}", hint="export the model again here"
            ) from exc

    def on(self, device: str) -> Self:
        """The same file elsewhere, if it was compiled for that."""
        return type(self)(self.path, self._archive, sha256=self.sha256, device=device)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, shape (batch, K), where the images are."""
        given = canvases(self.card, images_BCHW) if self.card.takes_pixels else images_BCHW
        return self.run(given).to(images_BCHW.device)

    def run(self, given: Tensor) -> Tensor:
        """What the package answers for what it takes: normalised images, or decoded bytes."""
        logits_BK: Tensor = self._package.run([given.to(self._target).contiguous()])[0]
        return logits_BK


def check_machine(path: Path, archive: Archive) -> None:
    """Refuse what was compiled for something else before any of it is loaded: it could end the process.

    Raises:
        ModelError: names what it was compiled for, what this is, and what to do.
    """
    told, here = archive.metadata, {"AOTI_PLATFORM": sys.platform, "AOTI_MACHINE": platform.machine()}
    again = f"export it again here: imgcls export {archive.card.name} --to aoti -o {path.name}"
    for key, found in here.items():
        if told.get(key, found) != found:
            raise ModelError(f"{path} was compiled for {told[key]}, and this is {found}", hint=again)
    missing = [name for name in told.get("AOTI_CPU_ISA", "").split() if not _has_instructions(name)]
    if missing and told.get("AOTI_DEVICE_KEY", "cpu") == "cpu":
        raise ModelError(
            f"{path} was compiled for a processor with {', '.join(missing)}, which this one lacks", hint=again
        )
    written, version = _release(archive.card.versions.get("torch", "")), _release(str(torch.__version__))
    if written and written != version:
        raise ModelError(
            f"{path} was compiled for torch {written}, and this is {version}",
            hint=f"pip install 'torch=={archive.card.versions['torch'].partition('+')[0]}', or {again}",
        )


def _has_instructions(name: str) -> bool:
    probe = getattr(torch.cpu, INSTRUCTIONS.get(name, ""), None)
    return probe is None or bool(probe())


def _release(version: str) -> str:
    return ".".join(version.partition("+")[0].split(".")[:2])
