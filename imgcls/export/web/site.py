"""A model as a folder that any static web server can offer: a page, the model and what runs it, in the browser.

Preprocessing runs in the browser too, as `imgcls.images.transform` does it; `page/geometry.js` has Pillow's resize in
the same integers. Before the page answers anybody, it classifies `check.png` and compares with what is written here.

Shapes: N images, K classes.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from imgcls.errors import UsageError
from imgcls.export.onnx import export_onnx
from imgcls.export.report import ExportReport
from imgcls.export.request import ExportRequest, Precision
from imgcls.export.sample_images import drawn_pixels
from imgcls.export.web.folder import MODEL_FILE, SITE_FILE, check_replaceable, put_in_place
from imgcls.export.web.half_weights import with_half_weights
from imgcls.export.web.runtime_files import RuntimeFiles, find_runtime_files
from imgcls.host.files import output_error
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.onnx.model import OnnxModel
from imgcls.outputs.report.classify_style import with_shared_style

PAGE = Path(__file__).parent / "page"
STYLE_FILE = "style.css"
CHECK_FILE = "check.png"
# In the pages' addresses of each other, replaced by what changes with any file.
VERSION_MARK = b"VERSION_OF_SITE"
SITE_SCHEMA = 1
# Classes of an answer that the page keeps, and of the test image that are compared.
MOST_CLASSES, CHECKED_CLASSES = 10, 5
# Of the compiled code, whose size decides how long a first visit takes; level 9 takes seconds for all of it.
GZIP_LEVEL = 9


def write(model: LoadedModel, output: Path, request: ExportRequest) -> ExportReport:
    """See `export_site`."""
    return export_site(
        model,
        output,
        precision=request.precision,
        folder=request.folder,
        runtime=request.web_runtime,
        overwrite=request.overwrite,
        on_step=request.on_step,
    )


def export_site(
    model: LoadedModel,
    output: Path,
    *,
    precision: Precision = "fp16",
    folder: Path | None = None,
    runtime: Path | None = None,
    overwrite: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
) -> ExportReport:
    """Write a model as a web site, whole or not at all.

    Args:
        model: any that `load_model` gives.
        output: the folder to write.
        precision: of the model's file; `fp16` stores half and computes in float32, `int8` needs a folder.
        folder: images to compare on, and to calibrate on.
        runtime: the npm package onnxruntime-web: its file, its folder, or one with `node_modules`.
        overwrite: replace a site that is there.
        on_step: told what is being done.
    Returns:
        The report on `model.onnx`, with the folder as its output.
    Raises:
        DeviceError: the npm package or the `onnx` extra isn't there.
        ModelError, UsageError, DataError: as for `export_onnx`.
        OutputError: the folder can't be written, or holds something else.
    """
    if model.multi_label is not None:
        raise UsageError(
            f"{model.name} answers several labels per image, and the site shows one",
            hint=f"imgcls export {model.name} -o model.onnx, or imgcls serve -m {model.name}",
        )
    check_replaceable(output, overwrite=overwrite)
    files = find_runtime_files(runtime)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name[:80]}.", suffix=".part", dir=output.parent) as piece:
            made = Path(piece) / "site"
            made.mkdir()
            report = export_onnx(
                model,
                made / MODEL_FILE,
                precision=precision,
                folder=folder,
                to_half=with_half_weights,
                on_step=on_step,
            )
            on_step("writing the site")
            _fill(made, model, files)
            put_in_place(made, output, Path(piece) / "before")
    except OSError as exc:
        raise output_error(output, exc) from exc
    total = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    return dataclasses.replace(report, output=output, format="web", total_bytes=total)


def _fill(made: Path, model: LoadedModel, files: RuntimeFiles) -> None:
    """Write all files beside the model's."""
    (made / "ort").mkdir()
    pixels_1HWC = drawn_pixels(model.transform)[:1]
    stored = io.BytesIO()
    Image.fromarray(pixels_1HWC[0]).save(stored, "PNG")
    contents = {CHECK_FILE: stored.getvalue()}
    for name, content in files.contents.items():
        if name.endswith(".wasm"):
            contents[f"ort/{name}.gz"] = gzip.compress(content, GZIP_LEVEL, mtime=0)
        else:
            contents[f"ort/{name}"] = content
    own = {path.name: path.read_bytes() for path in sorted(PAGE.iterdir()) if path.is_file()}
    own[STYLE_FILE] = with_shared_style(own[STYLE_FILE])
    opened = OnnxModel(made / MODEL_FILE, device="cpu")
    answers_K = opened.probabilities(pixels_1HWC)[0]
    best = (-answers_K).argsort(kind="stable")[:CHECKED_CLASSES]
    site: dict[str, Any] = {
        "schema": SITE_SCHEMA,
        # As `predict -m model.onnx` names it.
        "model_id": opened.id,
        "input_shape": [model.transform.num_channels, *model.transform.size_px],
        "most_classes": min(MOST_CLASSES, len(model.classes)),
        "check": [[int(index), round(float(answers_K[index]), 6)] for index in best],
        "model": {"name": MODEL_FILE, "size": (made / MODEL_FILE).stat().st_size, "sha256": opened.sha256},
        "runtimes": _runtimes(files, contents),
        "runtime_version": files.version,
        "card": json.loads(opened.card.to_json()),
    }
    del opened
    contents[SITE_FILE] = json.dumps(site, ensure_ascii=False).encode()
    # Whatever changes, the addresses of all files change, so that no browser mixes two versions.
    digest = hashlib.sha256()
    for name, content in sorted({**contents, **own}.items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    version = digest.hexdigest()[:12]
    contents[SITE_FILE] = json.dumps({"version": version, **site}, ensure_ascii=False).encode()
    contents |= {name: content.replace(VERSION_MARK, version.encode()) for name, content in own.items()}
    for name, content in contents.items():
        (made / name).write_bytes(content)


def _runtimes(files: RuntimeFiles, contents: dict[str, bytes]) -> dict[str, Any]:
    def told(name: str) -> dict[str, Any]:
        path = f"ort/{name}.gz" if name.endswith(".wasm") else f"ort/{name}"
        return {"name": path, "size": len(contents[path])}

    kinds = ("api", "loader", "wasm")
    return {
        name: {kind: told(file) for kind, file in zip(kinds, names, strict=True)}
        for name, names in files.runtimes.items()
    }
