"""Making a twin: exported, compared with the network on images, and only then kept.

Shapes: N images, H height, W width, C channels (3).
"""

import contextlib
import gc
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from imgcls.errors import OutputError
from imgcls.export.onnx import INPUT, to_onnx_bytes, write_onnx
from imgcls.export.parity import compare, in_batches, outputs_of
from imgcls.export.quantize import CALIBRATED, to_int8
from imgcls.export.sample_images import drawn_pixels, folder_pixels, hold_out
from imgcls.host.files import output_error, replacing
from imgcls.host.terminal_text import counted
from imgcls.images.transform import Floats, Pixels
from imgcls.models.loaded_model import LoadedModel
from imgcls.twins.cache import TWIN_KEY, Twin, open_twin, remember_failure, remove_former_twins, twin_path
from imgcls.twins.calibration import Calibration
from imgcls.twins.identity import Identity
from imgcls.twins.upcoming import Upcoming

# Another process that makes the same twin is waited for; a large one takes a minute.
LOCK_SEC = 300.0


def make_twin(
    model: LoadedModel,
    identity: Identity,
    *,
    upcoming: Upcoming,
    calibration: Calibration | None = None,
    on_step: Callable[[str], None] = lambda _step: None,
) -> Path:
    """Make a model's twin and keep it in the cache, unless another process has just done so.

    Its answers are compared with the network's on eight drawn scenes and on the first few of the images that are to be
    classified. Anything beyond 1e-4 in a probability, or 1e-3 of the largest logit, and it isn't kept.

    Args:
        model: as `load_model` gives it.
        identity: of the same model.
        upcoming: the images that are to be classified.
        calibration: what shapes an int8 twin, and judges it.
        on_step: told what is being done.
    Returns:
        The file.
    Raises:
        ModelError: it can't be expressed as ONNX, or answers differently.
        DeviceError: the `onnx` extra isn't installed.
        OutputError: the cache can't be written.
    """
    path = twin_path(identity)
    with _alone(path):
        if is_whole(identity, calibration):
            return path
        try:
            if calibration is not None:
                _make_int8(model, identity, path, calibration, on_step)
            else:
                _make(model, identity, path, upcoming)
        finally:
            # The exporter's graphs are cycles, twice as large as the weights, and a command may have switched the
            # collector off.
            gc.collect()
        remember_failure(identity, "")
        remove_former_twins(identity)
    return path


def is_whole(identity: Identity, calibration: Calibration | None = None) -> bool:
    """Whether the cache has a model's twin that can be used."""
    with contextlib.suppress(Exception):
        twin = open_twin(identity)
        return twin is not None and (calibration is None or twin.calibration == calibration.fingerprint)
    return False


def _make(model: LoadedModel, identity: Identity, path: Path, upcoming: Upcoming) -> None:
    exported = to_onnx_bytes(model)
    images_NHWC = np.stack([*drawn_pixels(model.transform), *upcoming.first_pixels(model.transform)])
    note = {"key": identity.key, "model": model.describe()}
    with replacing(path) as part:
        write_onnx(part, exported, model, metadata={TWIN_KEY: json.dumps(note)})
        del exported
        expected_NK = in_batches(outputs_of(model), images_NHWC)
        several = model.multi_label is not None
        parity = compare(expected_NK, _answers(part, identity, images_NHWC), is_multi_label=several)
        parity.check("the ONNX twin")


def _make_int8(
    model: LoadedModel, identity: Identity, path: Path, calibration: Calibration, on_step: Callable[[str], None]
) -> None:
    found_NHWC = folder_pixels(calibration.folder, model.transform)
    shaping_NHWC, judging_NHWC = hold_out(found_NHWC, most=CALIBRATED)
    if not len(judging_NHWC):
        judging_NHWC = drawn_pixels(model.transform)
    exact = to_onnx_bytes(model)
    # Records of it are no records of the model's own, nor of an int8 twin that other images have shaped.
    described = {**model.describe(), "precision": "int8", "calibration": calibration.fingerprint[:12]}
    note = {"key": identity.key, "model": described, "calibration": calibration.fingerprint}
    with replacing(path) as part, tempfile.TemporaryDirectory(prefix="imgcls-") as folder:
        plain = Path(folder) / "fp32.onnx"
        write_onnx(plain, exact, model)
        smaller = to_int8(plain, INPUT, shaping_NHWC, model.transform)
        write_onnx(part, smaller, model, precision="int8", metadata={TWIN_KEY: json.dumps(note)})
        expected_NK = in_batches(outputs_of(model), judging_NHWC)
        several = model.multi_label is not None
        parity = compare(expected_NK, _answers(part, identity, judging_NHWC), is_multi_label=several)
    same = round(parity.top1 * parity.num_images)
    on_step(
        f"int8, calibrated on {counted(len(shaping_NHWC), 'image')}: the same first class as float32 for {same} of "
        f"{parity.num_images} others, probabilities differ by up to {parity.largest_difference:.2g}"
    )


def _answers(path: Path, identity: Identity, images_NHWC: Pixels) -> Floats:
    twin = Twin(path, identity)
    return in_batches(lambda each: twin.run_normalised(twin.card.transform.normalise_array(each)), images_NHWC)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a twin's file, so that of several processes one makes it and the others wait for it."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=LOCK_SEC)
    except Timeout as exc:
        raise OutputError("another process has been making it for minutes", hint="--runtime torch") from exc
    except OSError as exc:
        raise output_error(path, exc, option="IMGCLS_CACHE") from exc
    except NotImplementedError as exc:
        raise OutputError(f"the file system of {path.parent} has no locks", hint="set IMGCLS_CACHE") from exc
    try:
        yield
    finally:
        lock.release()
