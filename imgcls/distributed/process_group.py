"""The processes of one run: joining them, what they agree on, and noticing that one is gone.

torchrun starts them, torch.distributed connects them. Two groups are made: the one that carries gradients, which gives
up on a silent partner after some minutes, and a patient one on the CPU for everything else, where waiting for a
download is no fault. Both notice at once when a partner's process ends.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from imgcls.distributed.launch import Launch, read_launch
from imgcls.errors import DeviceError, ProcessLostError, UsageError
from imgcls.host.devices import DeviceChoice, choose_device, device_count
from imgcls.host.terminal_text import counted

T = TypeVar("T")

# Until all have come, and for one exchange of gradients: longer than any step, shorter than a night.
TIME_LIMIT = timedelta(minutes=10)
# While the first process downloads, decodes or saves, the others wait.
PATIENCE = timedelta(days=2)
# To ask torchrun's store who speaks first, when something has gone wrong already.
CLAIM_LIMIT = timedelta(seconds=10)
HESITATION_SEC = 0.5
# What gloo, NCCL and the store say when a partner is gone or silent; torch gives most of it no exception of its own.
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting")


class Processes:
    """The processes that share a run's work. `Processes()` is one by itself, for which everything here is free.

    Args:
        launch: which of them this one is.
        group: the patient one, on the CPU.
    """

    def __init__(self, launch: Launch | None = None, group: "dist.ProcessGroup | None" = None) -> None:
        self.launch, self._group = launch, group
        self.rank, self.count = (launch.rank, launch.count) if launch and group else (0, 1)
        self.local_rank, self.local_count = (launch.local_rank, launch.local_count) if launch and group else (0, 1)

    @property
    def is_first(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.rank == 0

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, in all of them; the others don't call it."""
        if self._group is None:
            return make()
        box: list[Any] = [make() if self.is_first else None]
        dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]  # type: ignore[no-any-return]

    def gather(self, value: T) -> list[T]:
        """Everybody's value, in the order of the ranks."""
        if self._group is None:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self._group)
        return values

    def gather_rows(self, columns: list[Tensor] | None) -> list[Tensor] | None:
        """Tensors on the CPU, each with those of the other processes behind it in the order of the ranks.

        Args:
            columns: of any length, also none at all.
        """
        if self._group is None:
            return columns
        parts = [part for part in self.gather(columns) if part is not None]
        return [torch.cat(column) for column in zip(*parts, strict=True)] if parts else None

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes of a tensor on the CPU."""
        if self._group is None:
            return values
        summed = values.clone()
        dist.all_reduce(summed, group=self._group)
        return summed

    def begin_maximum(self, values: Tensor) -> "dist.Work | None":
        """Start to replace a tensor on the CPU by its maxima over the processes; `wait()` ends it."""
        if self._group is None:
            return None
        return dist.all_reduce(values, op=dist.ReduceOp.MAX, group=self._group, async_op=True)

    @contextlib.contextmanager
    def first_of_each_machine_first(self) -> Iterator[None]:
        """Let one process of each machine through before the others, which then find its caches filled."""
        if self.local_rank != 0:
            self.gather(None)
        yield
        if self.local_rank == 0:
            self.gather(None)

    @contextlib.contextmanager
    def noticing_losses(self) -> Iterator[None]:
        """Turn what torch raises when a process is gone into an error that says so.

        Raises:
            ProcessLostError: another process is gone or silent.
        """
        try:
            yield
        except RuntimeError as exc:
            if self._group is None or not _is_loss(exc):
                raise
            raise ProcessLostError(
                f"one of the run's {self.count} processes is gone: it was killed, ran out of memory, or its machine "
                "can't be reached",
                hint="torchrun says below which one; start it again",
            ) from exc


@contextlib.contextmanager
def joined(device: str = "auto") -> Iterator[Processes]:
    """Join the processes that torchrun started, if it started several, and leave them at the end.

    Args:
        device: as the user asked for it, for the way in which gradients travel.
    Raises:
        UsageError: a device that several processes can't share out.
        DeviceError: more processes than GPUs, or the others don't come.
        ProcessLostError: a process is gone.
    """
    launch = read_launch()
    if launch is None or launch.count == 1:
        yield Processes(launch)
        return
    choice = choose_device_of(device, launch)
    if not dist.is_available():
        raise DeviceError("this PyTorch can't run several processes", hint="start it without torchrun")
    backend = "gloo"
    if choice.device.type == "cuda":
        torch.cuda.set_device(choice.device)
        if dist.is_nccl_available():
            backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(
            backend, store=_store(launch, TIME_LIMIT), rank=launch.rank, world_size=launch.count, timeout=TIME_LIMIT
        )
        patient = dist.new_group(backend="gloo", timeout=PATIENCE)
        assert isinstance(patient, dist.ProcessGroup)
        processes = Processes(launch, patient)
    except RuntimeError as exc:
        first = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise DeviceError(
            f"the {launch.count} processes can't reach each other at {first}: {str(exc).splitlines()[0]}",
            hint="check that every machine reaches that address; GLOO_SOCKET_IFNAME=eth0 names the network to use",
        ) from exc
    with processes.noticing_losses():
        yield processes
        # Only where all went well: with a partner gone there is nobody to take leave of.
        dist.destroy_process_group()


def choose_device_of(request: str, launch: Launch | None) -> DeviceChoice:
    """The device of one of several processes: one GPU per process, or the CPU for all; else as `choose_device` says.

    Raises:
        UsageError: a device that can't be shared out.
        DeviceError: more processes than GPUs.
    """
    if launch is None or launch.count == 1:
        return choose_device(request)
    gpus = device_count("cuda")
    if request == "auto":
        request = "cuda" if gpus else "cpu"
    if request == "cpu":
        return DeviceChoice(torch.device("cpu"), "shared by all")
    if request != "cuda":
        raise UsageError(
            f"--device {request} doesn't go with {launch.count} processes",
            hint="--device cuda gives each a GPU of its own, --device cpu shares the cores",
        )
    if not gpus:
        return choose_device(request)
    if max(launch.local_count, launch.local_rank + 1) > gpus:
        raise DeviceError(
            f"{counted(launch.local_count, 'process', plural='processes')} on this machine, "
            f"but {counted(gpus, 'CUDA device')}",
            hint=f"torchrun --nproc-per-node {gpus}, or --device cpu",
        )
    return DeviceChoice(torch.device("cuda", launch.local_rank), "a GPU for each process")


def may_speak(launch: Launch | None) -> bool:
    """Whether this process is the first of them all that has an error to tell; the others' follow from it."""
    if launch is None or launch.count == 1 or not launch.by_torchrun or not dist.is_available():
        return True
    if launch.rank > 0:
        # A mistake that all of them find is best told by the one that speaks anyway.
        time.sleep(HESITATION_SEC)
    try:
        return _store(launch, CLAIM_LIMIT).add("spoken", 1) == 1
    except (RuntimeError, ValueError):
        # The machine with the store is gone, so that nobody else can be told either.
        return True


def _store(launch: Launch, limit: timedelta) -> "torch._C._distributed_c10d.Store":
    store, _rank, _count = next(dist.rendezvous("env://", timeout=limit))  # type: ignore[attr-defined]
    # torchrun's store outlives a restart, and would hand out the addresses of processes that are gone.
    return dist.PrefixStore(  # type: ignore[attr-defined]
        f"imgcls/{launch.restarts}/{launch.count}", store
    )


def _is_loss(exc: RuntimeError) -> bool:
    return isinstance(exc, dist.DistError) or any(words in str(exc) for words in LOST)
