"""Workers in a pool that heals itself: blocks go to whoever is ready, and to another where a worker or its node dies.

On Ray's actors, rather than on `ray.data`: a retry can ask for smaller batches and is counted, so that an input that
kills its worker ends the run with its name instead of killing workers for ever; blocks are cut while the run goes on,
so that ten million names are never held; and a worker tells how far it is inside of a block.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from imgcls.errors import DeviceError, ImgclsError
from imgcls.inference.cluster.blocks import Block
from imgcls.inference.cluster.head import GROW_SEC, HEAD_LIMIT_SEC, HeadWatch
from imgcls.inference.cluster.session import Shape
from imgcls.inference.cluster.worker import BlockWorker, PartResult, WorkerTask

# A block waits in a worker while another is in hand, so that no worker waits for this process.
BLOCKS_PER_WORKER = 2
POLL_SEC = 0.25
# A block whose worker died so often is to blame for it.
MAX_TRIES = 4
# Workers that die before they are ready, one after the other, will go on doing so.
MAX_FAILED_STARTS = 5


@dataclass
class Status:
    """How a run stands, for whoever watches.

    Attributes:
        num_workers: that are ready.
        num_nodes: that these are on.
        in_hand: images done and failed inside of blocks that are not through.
        num_lost: workers that died.
    """

    num_workers: int = 0
    num_nodes: int = 0
    in_hand: tuple[int, int] = (0, 0)
    num_lost: int = 0


@dataclass(eq=False)
class _Worker:
    actor: Any
    ready: Any
    info: dict[str, Any] | None = None
    blocks: dict[Any, Block] = field(default_factory=dict)
    asked: Any = None
    in_hand: tuple[int, int] = (0, 0)


class WorkerPool:
    """See the module.

    Args:
        ray: the module, after `ray_session`.
        task: what all blocks have in common.
        packed: the model, in the object store.
        shape: of the pool.
    """

    def __init__(self, ray: Any, task: WorkerTask, packed: Any, shape: Shape) -> None:
        self._ray, self._packed, self._shape, self._task = ray, packed, shape, task
        options: dict[str, Any] = {"num_cpus": shape.num_cpus, "max_restarts": 0}
        if shape.num_gpus:
            options["num_gpus"] = shape.num_gpus
        # Its own thread answers how far it is, while another classifies.
        kind = ray.remote(concurrency_groups={"progress": 1}, **options)(BlockWorker)
        self._make: Callable[[], Any] = lambda: kind.remote(task)
        self._workers: list[_Worker] = []
        self._retries: list[tuple[Block, int]] = []
        self._tries: dict[str, int] = {}
        self._failed_starts = 0
        self._grew = 0.0
        self._head = HeadWatch(ray)
        self.status = Status()
        self.devices: dict[str, int] = {}
        self.versions: list[dict[str, str]] = []

    def run(self, blocks: Iterator[Block], should_stop: Callable[[], bool]) -> Iterator[PartResult | None]:
        """Classify blocks, as many at a time as there are workers for.

        Args:
            blocks: taken as workers become free.
            should_stop: asked all the time; once true, nothing is waited for any more.
        Yields:
            What became of each block, in the order in which they are through; None from time to time.
        Raises:
            ImgclsError: what a worker raised, a block that kills workers, or a head that is gone.
        """
        is_exhausted = False
        for _ in range(self._shape.least):
            self._start()
        while not should_stop():
            while not is_exhausted and not self._retries and self._free() is not None:
                block = next(blocks, None)
                if block is None:
                    is_exhausted = True
                else:
                    self._retries.append((block, 0))
                self._hand_out()
            self._hand_out()
            if is_exhausted and not self._retries and not any(worker.blocks for worker in self._workers):
                return
            self._grow(has_more=not is_exhausted or bool(self._retries))
            yield from self._collect()
            yield None

    def close(self) -> None:
        """End the workers."""
        if self._head.is_lost:
            return
        for worker in self._workers:
            with contextlib.suppress(Exception):
                self._ray.kill(worker.actor)
        self._workers.clear()

    def _free(self) -> _Worker | None:
        ready = [worker for worker in self._workers if worker.info and len(worker.blocks) < BLOCKS_PER_WORKER]
        return min(ready, key=lambda worker: len(worker.blocks), default=None)

    def _hand_out(self) -> None:
        while self._retries and (worker := self._free()) is not None:
            block, tries = self._retries.pop(0)
            self._tries[block.id] = tries
            # Whatever killed its worker, such as too little memory, may not happen with less at once.
            batch_size = max(self._task.settings.batch_size >> tries, 1)
            worker.blocks[worker.actor.classify.remote(block, batch_size=batch_size)] = block

    def _collect(self) -> Iterator[PartResult]:
        waiting: dict[Any, _Worker] = {}
        for worker in self._workers:
            for reference in (*worker.blocks, *([worker.ready] if worker.info is None else [])):
                waiting[reference] = worker
            if worker.blocks and worker.asked is None:
                worker.asked = worker.actor.progress.options(concurrency_group="progress").remote()
        if not waiting:
            time.sleep(POLL_SEC)
            self._head.check()
            return
        done, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=POLL_SEC)
        for reference in done:
            worker = waiting[reference]
            if worker not in self._workers:
                continue
            try:
                made = self._ray.get(reference, timeout=HEAD_LIMIT_SEC)
            except Exception as exc:
                self._lose(worker, reference, exc)
                continue
            if reference in worker.blocks:
                self._tries.pop(worker.blocks.pop(reference).id, None)
                worker.in_hand = (0, 0)
                yield made
            else:
                worker.info = made
                self._failed_starts = 0
                self.devices[made["device"]] = self.devices.get(made["device"], 0) + 1
                if made["versions"] not in self.versions:
                    self.versions.append(made["versions"])
        self._listen()
        self._head.check()

    def _listen(self) -> None:
        for worker in self._workers:
            if worker.asked is None:
                continue
            answered, _ = self._ray.wait([worker.asked], timeout=0)
            if answered:
                # One that died says so with its block.
                with contextlib.suppress(Exception):
                    worker.in_hand = self._ray.get(worker.asked, timeout=1)
                worker.asked = None
        ready = [worker for worker in self._workers if worker.info]
        self.status.num_workers = len(ready)
        self.status.num_nodes = len({worker.info["node"] for worker in ready if worker.info})
        self.status.in_hand = (
            sum(worker.in_hand[0] for worker in ready if worker.blocks),
            sum(worker.in_hand[1] for worker in ready if worker.blocks),
        )

    def _lose(self, worker: _Worker, reference: Any, exc: Exception) -> None:
        cause = getattr(exc, "cause", None)
        if isinstance(cause, ImgclsError):
            raise cause
        if isinstance(exc, self._ray.exceptions.RayTaskError):
            if reference == worker.ready:
                raise DeviceError(
                    f"a worker can't start: {_reason(cause or exc)}",
                    hint="install imgcls with the same extras on all nodes",
                ) from exc
            raise cause or exc
        # The process or its node is gone; what it had in hand goes to others.
        self._workers.remove(worker)
        self.status.num_lost += 1
        with contextlib.suppress(Exception):
            self._ray.kill(worker.actor)
        if worker.info is None:
            self._failed_starts += 1
            if self._failed_starts > MAX_FAILED_STARTS:
                raise DeviceError(f"no worker can start: {_reason(exc)}", hint="-v shows Ray's own messages") from exc
        for number, block in enumerate(worker.blocks.values()):
            # Only the first was in hand.
            tries = self._tries.get(block.id, 0) + (number == 0)
            if tries >= MAX_TRIES:
                first, last = block.sources[0].name, block.sources[-1].name
                raise DeviceError(
                    f"{MAX_TRIES} workers died, one after the other, over the inputs from {first} to {last}",
                    hint="--exclude leaves out what kills them; --resume continues",
                ) from exc
            self._retries.append((block, tries))

    def _start(self) -> None:
        actor = self._make()
        self._workers.append(_Worker(actor, actor.prepare.remote(self._packed)))

    def _grow(self, *, has_more: bool) -> None:
        """Start workers in the place of those that died, and more where there is room; one more than fits at most.

        The one that waits tells a cluster that can grow that there is work.
        """
        now = time.monotonic()
        shape = self._shape
        while len(self._workers) < shape.least and (has_more or any(worker.blocks for worker in self._workers)):
            self._start()
        if not has_more or now - self._grew < GROW_SEC or any(worker.info is None for worker in self._workers):
            return
        self._grew = now
        if shape.most is not None:
            if len(self._workers) < shape.most:
                self._start()
            return
        # What the head said last; asking it here would wait for an answer if it is gone.
        free = self._head.take_free_resources()
        if free.get("CPU", 0) >= shape.num_cpus and free.get("GPU", 0) >= shape.num_gpus:
            self._start()


def _reason(exc: Exception) -> str:
    """The line of a traceback from another process that says what went wrong."""
    found = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", str(exc)).splitlines() if line.strip()]
    return next((line for line in reversed(found) if re.match(r"[\w.]+(Error|Exception):", line)), (found or [""])[0])
