"""A `.pt2` file as a network, where the person who asks for it lets it run code."""

from pathlib import Path

from imgcls.errors import ModelError
from imgcls.host.digests import file_sha256
from imgcls.models.exported import ExportedNetwork
from imgcls.models.programs.archive import read_archive

WHAT_RUNS = {
    "aoti": "is an AOTInductor package of {}: native code, which loading it runs",
    "torch-export": "is a torch.export program of {}: loading one could run code that is in it",
}


def open_exported(path: Path, *, allow_code: bool = False, device: str = "auto") -> ExportedNetwork:
    """See `imgcls.models.exported.open_exported`."""
    archive = read_archive(path)
    if not allow_code:
        origin = f"{archive.card.name}@{archive.card.weights_sha256[:12]}"
        raise ModelError(
            f"{path} {WHAT_RUNS[archive.kind].format(origin)}",
            hint="add --allow-code (allow_code=True) if you trust whoever wrote it, or use ONNX, which needs no trust: "
            "imgcls export MODEL -o m.onnx",
        )
    if archive.kind == "aoti":
        from imgcls.models.programs.aoti import AotiNetwork

        return AotiNetwork(path, archive, sha256=file_sha256(path), device=device)
    from imgcls.models.programs.torch_export import ProgramNetwork

    return ProgramNetwork(path, archive.card, sha256=file_sha256(path), device=device)
