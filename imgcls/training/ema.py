"""EMA: an exponential moving average of a network's weights, which often generalises better than the last weights."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EmaNetwork:
    """A copy of a network whose weights follow it slowly.

    `torch.optim.swa_utils.AveragedModel` asks the device at every update whether it is the first; this one counts here.

    Args:
        network: the one to follow; batch norm's running statistics are averaged too.
        decay: what stays of the average at an update; less at first, so that early weights fade. The first update
            takes the weights as they are: nothing stays of the untrained ones.
        every: steps between updates.
    """

    def __init__(self, network: nn.Module, *, decay: float, every: int) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay, self.every = decay, every
        self.num_updates = 0
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        self._averages = [average for average, _value in pairs if average.is_floating_point()]
        self._values = [value for _average, value in pairs if value.is_floating_point()]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the network by one update."""
        # The warm-up of TensorFlow's ExponentialMovingAverage, counted from the first update.
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates)) if self.num_updates else 0.0
        self.num_updates += 1
        get_ema_multi_avg_fn(decay)(self._averages, self._values, None)  # type: ignore[no-untyped-call]
        for average, value in self._counters:
            average.copy_(value)
