"""Making a twin: exported, compared with the network on images, and only then kept.

Shapes: N images, H height, W width, C channels (3).
"""

import contextlib
import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from imgcls.errors import OutputError
from imgcls.export.onnx import to_onnx_bytes, write_onnx
from imgcls.export.parity import compare, in_batches, outputs_of
from imgcls.export.sample_images import drawn_pixels
from imgcls.host.files import output_error, replacing
from imgcls.images.transform import Floats, Pixels
from imgcls.models.loading import LoadedModel
from imgcls.twins.cache import TWIN_KEY, Twin, open_twin, remember_failure, remove_former_twins, twin_path
from imgcls.twins.identity import Identity
from imgcls.twins.upcoming import Upcoming

# Another process that makes the same twin is waited for; a large one takes a minute.
LOCK_SEC = 300.0


def make_twin(
    model: LoadedModel,
    identity: Identity,
    *,
    upcoming: Upcoming,
    on_step: Callable[[str], None] = lambda _step: None,
) -> Path:
    """Make a model's twin and keep it in the cache, unless another process has just done so.

    Its answers are compared with the network's on eight drawn scenes and on the first few of the images that are to be
    classified. Anything beyond 1e-4 in a probability, or 1e-3 of the largest logit, and it isn't kept.

    Args:
        model: as `load_model` gives it.
        identity: of the same model.
        upcoming: the images that are to be classified.
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
        if is_whole(identity):
            return path
        on_step("exporting")
        try:
            _make(model, identity, path, upcoming, on_step)
        finally:
            # The exporter's graphs are cycles, twice as large as the weights, and a command may have switched the
            # collector off.
            gc.collect()
        remember_failure(identity, "")
        remove_former_twins(identity)
    return path


def is_whole(identity: Identity) -> bool:
    """Whether the cache has a model's twin that can be used."""
    with contextlib.suppress(Exception):
        return open_twin(identity) is not None
    return False


def _make(
    model: LoadedModel, identity: Identity, path: Path, upcoming: Upcoming, on_step: Callable[[str], None]
) -> None:
    exported = to_onnx_bytes(model)
    images_NHWC = np.stack([*drawn_pixels(model.transform), *upcoming.first_pixels(model.transform)])
    note = {"key": identity.key, "model": model.describe()}
    with replacing(path) as part:
        write_onnx(part, exported, model, metadata={TWIN_KEY: json.dumps(note)})
        del exported
        on_step("comparing its answers")
        parity = compare(in_batches(outputs_of(model), images_NHWC), _answers(part, identity, images_NHWC))
        parity.check("the ONNX twin")


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
