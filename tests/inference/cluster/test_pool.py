"""The pool of workers on a real Ray: retries are counted and made smaller, errors arrive as they were raised."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from imgcls.errors import DeviceError, OutputError
from imgcls.images.inputs.source import Source
from imgcls.inference.cluster.blocks import Block
from imgcls.inference.cluster.session import Shape, fit_shape, ray_session

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Ray's clusters are for Linux and macOS"),
]
pytest.importorskip("ray", reason="pip install 'imgcls[ray]'")


class OddWorker:
    """In the place of `BlockWorker`: does what a block's name says, and tells with how large a batch."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def prepare(self, _packed: object) -> dict[str, object]:
        return {"device": "cpu", "versions": {}, "node": "one"}

    def progress(self) -> tuple[int, int]:
        return 1, 0

    def classify(self, block: Block, *, batch_size: int) -> tuple[str, int]:
        tries = self._folder / block.id
        tries.write_text(tries.read_text() + "." if tries.exists() else ".")
        if block.id == "deadly" or (block.id == "twice" and len(tries.read_text()) < 3):
            os._exit(1)
        if block.id == "full":
            raise OutputError("the disk is full", hint="free some space")
        return block.id, batch_size


@pytest.fixture(scope="module")
def ray():
    with ray_session("local", is_verbose=False, store_bytes=0) as module:
        # Workers don't find this file by its name.
        module.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield module


def run(ray, tmp_path: Path, *names: str) -> list[tuple[str, int]]:
    from imgcls.inference.cluster.pool import WorkerPool

    task = SimpleNamespace(settings=SimpleNamespace(batch_size=32))
    pool = WorkerPool(ray, task, None, Shape(2, 2, 1, 0))
    kind = ray.remote(concurrency_groups={"progress": 1}, num_cpus=0)(OddWorker)
    pool._make = lambda: kind.remote(str(tmp_path))
    blocks = (Block(name, (Source(f"{name}-first"), Source(f"{name}-last"))) for name in names)
    try:
        return [result for result in pool.run(blocks, lambda: False) if result is not None]
    finally:
        pool.close()


def test_every_block_is_done_once_whatever_dies(ray, tmp_path):
    names = [f"b{number}" for number in range(20)]
    found = run(ray, tmp_path, *names[:10], "twice", *names[10:])
    assert sorted(name for name, _ in found) == sorted([*names, "twice"])
    # The third try has a quarter of the batch; nobody else suffers from it.
    assert dict(found)["twice"] == 8
    assert {size for name, size in found if name != "twice"} == {32}


def test_a_block_that_kills_every_worker_ends_the_run_by_its_name(ray, tmp_path):
    with pytest.raises(DeviceError, match="4 workers died, one after the other, over the inputs from deadly-first to"):
        run(ray, tmp_path, "a", "deadly", "b")
    assert len((tmp_path / "deadly").read_text()) == 4


def test_an_error_arrives_as_it_was_raised(ray, tmp_path):
    with pytest.raises(OutputError, match="the disk is full") as caught:
        run(ray, tmp_path, "a", "full")
    assert caught.value.hint == "free some space"


def test_a_run_that_is_to_stop_waits_for_nobody(ray, tmp_path):
    from imgcls.inference.cluster.pool import WorkerPool

    task = SimpleNamespace(settings=SimpleNamespace(batch_size=32))
    pool = WorkerPool(ray, task, None, Shape(1, 1, 10_000, 0))
    began = time.monotonic()
    for _ in pool.run(iter([Block("a", (Source("a"),))]), lambda: time.monotonic() - began > 1):
        pass
    pool.close()


def test_a_worker_fits_a_node_or_the_error_says_what_would(ray):
    shape = fit_shape(ray, least=1, most=None, num_cpus=None, num_gpus=None)
    assert 1 <= shape.num_cpus <= 4
    assert shape.num_gpus == 0
    with pytest.raises(DeviceError, match="no node of the cluster has 10000 cores"):
        fit_shape(ray, least=1, most=None, num_cpus=10_000, num_gpus=None)
