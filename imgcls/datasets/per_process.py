"""What processes on one machine, or on several with a copy of the data each, have to share or to agree on."""

import hashlib
import socket
from collections.abc import Mapping

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.datasets.opening import MEMORY_SHARE
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError
from imgcls.host.resources import available_bytes, available_cores


def memory_for_each_mib(processes: Processes) -> int | None:
    """Memory for each process's images: the same for all, so that all hold them or all stream them.

    Returns:
        None for one process, to which the default applies.
    """
    if processes.count == 1:
        return None
    return min(processes.gather(int(available_bytes() * MEMORY_SHARE / processes.local_count / 2**20)))


def workers_for_each(workers: int | None, processes: Processes) -> int | None:
    """Threads or processes that decode for one process: as asked for, else its part of the machine's cores."""
    if workers is not None or processes.count == 1:
        return workers
    return max(1, available_cores() // processes.local_count)


def check_same_images(splits: Mapping[str, LabelledImages], classes: tuple[str, ...], processes: Processes) -> None:
    """Make sure that every process has found the same images, by their number, classes and labels.

    Raises:
        DataError: names a machine with others.
    """
    if processes.count == 1:
        return
    counts = {name: len(images) for name, images in splits.items()}
    labels = [hashlib.sha256(images.labels_N.numpy().tobytes()).hexdigest() for images in splits.values()]
    everybody = processes.gather((socket.gethostname(), counts, (labels, classes)))
    first_host, first_counts, first = everybody[0]
    for host, other_counts, other in everybody:
        if (other_counts, other) != (first_counts, first):
            raise DataError(
                f"{host} has other images than {first_host}: {_spelt(other_counts)} there, {_spelt(first_counts)} here",
                hint="every machine needs the same data set",
            )


def _spelt(counts: dict[str, int]) -> str:
    return ", ".join(f"{num:,} {name}" for name, num in counts.items())
