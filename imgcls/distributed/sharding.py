"""Which images of a batch a process trains on, so that together they make the step that one process would make.

Shapes: N images in the order of an epoch, B those of a whole batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from imgcls.distributed.process_group import Processes
from imgcls.errors import ConfigError

# Of a batch, for each process: batch norm measures their variance, and a last batch can still be divided.
MIN_SHARD = 4


@dataclass(frozen=True, slots=True)
class Shard:
    """A process's part of a batch.

    Attributes:
        batch_B: the whole batch, as indices of images, int64, on the CPU.
        start, end: of this process's part.
        counts: whether the part is this process's own; else it repeats another's, and its gradient is left out.
    """

    batch_B: Tensor
    start: int
    end: int
    counts: bool = True

    def __len__(self) -> int:
        return self.end - self.start

    def places(self, indices_B: Tensor) -> slice | Tensor:
        """Where the images that came stand in the whole batch; damaged ones may be missing."""
        if len(indices_B) == len(self):
            return slice(self.start, self.end)
        wanted_B = self.batch_B[self.start : self.end]
        return self.start + torch.isin(wanted_B, indices_B).nonzero().flatten()


def shard_of(batch_B: Tensor, processes: Processes) -> Shard:
    """A process's part of a batch: sizes differ by one at most.

    Of a last batch that leaves less than two images a process, some get two or three. The others repeat the first's,
    since all have to take part in a step.
    """
    num, rank = len(batch_B), processes.rank
    takers = processes.count if num >= 2 * processes.count else max(1, num // 2)
    counts = rank < takers
    taken = rank if counts else 0
    start = taken * (num // takers) + min(taken, num % takers)
    return Shard(batch_B, start, start + num // takers + (taken < num % takers), counts)


def shard_order(order_N: Tensor, batch_size: int, processes: Processes) -> tuple[Tensor, int]:
    """The images that this process is to be handed, and how many at a time.

    Args:
        order_N: of the epoch, int64.
        batch_size: of the whole batches.
        processes: that share them.
    """
    if processes.count == 1:
        return order_N, batch_size
    num_whole = len(order_N) // batch_size * batch_size
    whole = shard_of(torch.empty(batch_size), processes)
    parts = [order_N[:num_whole].view(-1, batch_size)[:, whole.start : whole.end].flatten()]
    if num_whole < len(order_N):
        last = shard_of(order_N[num_whole:], processes)
        parts.append(last.batch_B[last.start : last.end])
    return torch.cat(parts), len(whole)


def check_can_be_sharded(batch_size: int, processes: Processes) -> None:
    """Refuse batches with too few images for each process.

    Raises:
        ConfigError: says how many there must be.
    """
    if processes.count > 1 and batch_size < MIN_SHARD * processes.count:
        raise ConfigError(
            f"train.batch_size = {batch_size} is the number of images in a step of all {processes.count} processes, "
            f"and leaves less than {MIN_SHARD} to each",
            hint=f"--batch-size {MIN_SHARD * processes.count} or more, or fewer processes",
        )
