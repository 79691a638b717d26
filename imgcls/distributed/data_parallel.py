"""A network whose copies several processes train together.

Gradients are averaged by DistributedDataParallel. Batch norm measures each process's own part of a batch, and its
running statistics, which training doesn't read, are averaged once an epoch: they follow the batches linearly, so that
the average of what the processes saw is what counts.
"""

import gc
import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from imgcls.distributed.process_group import Processes


def broadcast_weights(network: nn.Module, processes: Processes) -> None:
    """Give all processes the first one's weights: two machines may have computed the same ones a digit apart."""
    if processes.count > 1:
        network.load_state_dict(
            processes.from_first(lambda: {name: value.cpu() for name, value in network.state_dict().items()})
        )


def wrap_ddp(network: nn.Module, device: torch.device) -> DistributedDataParallel:
    """What runs the network forward so that its gradients become the mean of all processes'."""
    # An earlier wrapper of the same weights would go on sending their gradients until it is gone from memory.
    gc.collect()
    # All have the same weights already. Buffers are each process's own, from the start: a run that goes on within an
    # epoch has brought them along.
    how: dict[str, Any] = {"device_ids": None if device.type == "cpu" else [device], "init_sync": False}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters:
        return DistributedDataParallel(network, forward_sync_buffers=False, **how)
    # What it was called in torch 2.11.
    return DistributedDataParallel(network, broadcast_buffers=False, **how)


def running_statistics(networks: Iterable[nn.Module]) -> list[Tensor]:
    """The means and variances that batch norm has collected, in the order of the layers; not copied."""
    return [
        value
        for network in networks
        for layer in network.modules()
        if isinstance(layer, _BatchNorm)
        for value in (layer.running_mean, layer.running_var)
        if value is not None
    ]


@torch.no_grad()
def average_statistics(networks: Iterable[nn.Module], processes: Processes) -> None:
    """Give all processes the mean of what their batch norms have collected."""
    values = running_statistics(networks)
    if processes.count == 1 or not values:
        return
    mean = processes.total(torch.cat([value.double().cpu() for value in values])) / processes.count
    for value, averaged in zip(values, mean.split_with_sizes([len(value) for value in values]), strict=True):
        value.copy_(averaged)
