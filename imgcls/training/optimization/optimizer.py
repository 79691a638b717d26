"""From a recipe's [optim] to PyTorch's optimisers."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import SGD, AdamW, Muon, Optimizer

from imgcls.errors import ConfigError
from imgcls.models.heads import backbone_parameters
from imgcls.models.layer_groups import layer_distances
from imgcls.recipes.optimization import OptimSettings
from imgcls.training.optimization.weight_matrices import as_matrix, flattened, weight_matrices

# How parameters were sorted: first by their number of dimensions, now by what they are.
NDIM_RULE, NAMES_RULE = 1, 2
NEWEST_RULE = NAMES_RULE


class Optimisers:
    """One or two of torch's optimisers that step together.

    Args:
        network: only parameters that require a gradient are moved.
        settings: the recipe's [optim].
        backbone_lr_factor: learning rate of all but the head as a fraction of the head's.
        layer_decay: of that, each layer's as a fraction of the next one's, from the head backwards.
    Raises:
        ConfigError: the network has nothing that the optimiser can move.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: OptimSettings,
        *,
        backbone_lr_factor: float = 1.0,
        layer_decay: float = 1.0,
    ) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        if not self.parameters:
            raise ConfigError("the network has no weights to train", hint="choose another model, or freeze less of it")
        self._network, self._settings = network, settings
        self._backbone = {id(parameter) for parameter in backbone_parameters(network)}
        distances = layer_distances(network) if layer_decay < 1 else {}
        # Of each parameter of the backbone, by identity.
        self._lr_factors = {key: backbone_lr_factor * layer_decay ** distances.get(key, 0) for key in self._backbone}
        self._build(NEWEST_RULE)

    def _build(self, rule: int) -> None:
        """Make the optimisers, with weight decay on what a rule of ours calls a matrix."""
        settings = self._settings
        self._rule = rule
        found = weight_matrices(self._network) if rule >= NAMES_RULE else self._network.parameters()
        self._matrices = {id(p) for p in found if p.ndim >= 2}
        self._muon_pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        if settings.name == "muon":
            # Muon's authors leave the head, with one row a class, to AdamW, as they do norms and biases.
            hidden = [p for p in self.parameters if id(p) in self._matrices and id(p) in self._backbone]
            if not hidden and self._backbone.isdisjoint(map(id, self._network.parameters())):
                raise ConfigError("muon needs a hidden layer", hint="--set optim.name=adamw")
            self._muon_pairs = [(parameter, as_matrix(parameter)) for parameter in hidden]
            moved = {id(parameter) for parameter in hidden}
            rest = [p for p in self.parameters if id(p) not in moved]
            # AdamW keeps its usual beta1 here: `momentum` is Muon's.
            self.parts: list[Optimizer] = [
                self._adamw(
                    rest, lr=settings.rest_lr, weight_decay=settings.rest_weight_decay, betas=(0.9, settings.beta2)
                )
            ]
            if hidden:
                groups = [
                    {"params": [m for p, m in self._muon_pairs if self._lr_factors[id(p)] == f], "lr": settings.lr * f}
                    for f in self._falling_factors(hidden)
                ]
                muon = Muon(
                    groups,
                    lr=settings.lr,
                    weight_decay=settings.weight_decay,
                    momentum=settings.momentum,
                    nesterov=settings.nesterov,
                )
                self.parts.insert(0, muon)
        elif settings.name == "sgd":
            self.parts = [
                SGD(
                    self._groups(self.parameters, lr=settings.lr, weight_decay=settings.weight_decay),
                    lr=settings.lr,
                    momentum=settings.momentum,
                    nesterov=settings.nesterov and settings.momentum > 0,
                    fused=_can_fuse(self.parameters),
                )
            ]
        else:
            betas = (settings.momentum, settings.beta2)
            self.parts = [self._adamw(self.parameters, lr=settings.lr, weight_decay=settings.weight_decay, betas=betas)]
        # As the parts hold them: Muon has matrices of its own over the filters' memory, with gradients of their own.
        self._moved = [p for part in self.parts for group in part.param_groups for p in group["params"]]
        # GradScaler decides for each optimiser by itself whether a gradient is infinite: two would take half a step.
        self._as_one = self.parts[0] if len(self.parts) == 1 else cast(Optimizer, _Together(self.parts))
        self._peaks = [[float(group["lr"]) for group in part.param_groups] for part in self.parts]

    def _adamw(
        self, parameters: Sequence[nn.Parameter], *, lr: float, weight_decay: float, betas: tuple[float, float]
    ) -> AdamW:
        groups = self._groups(parameters, lr=lr, weight_decay=weight_decay)
        return AdamW(groups, lr=lr, betas=betas, fused=_can_fuse(parameters))

    def _groups(self, parameters: Sequence[nn.Parameter], *, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Parameters with and without decay; the head's, at its own rate, first."""
        if all(factor == 1 for factor in self._lr_factors.values()):
            return self._decay_groups(parameters, weight_decay)
        groups = self._decay_groups([p for p in parameters if id(p) not in self._backbone], weight_decay)
        for factor in self._falling_factors(parameters):
            alike = [p for p in parameters if self._lr_factors.get(id(p)) == factor]
            groups += [{**group, "lr": lr * factor} for group in self._decay_groups(alike, weight_decay)]
        return groups

    def _falling_factors(self, parameters: Sequence[nn.Parameter]) -> list[float]:
        """The learning rates of the backbone's parameters as fractions of the head's, each once."""
        return sorted({self._lr_factors[id(p)] for p in parameters if id(p) in self._lr_factors}, reverse=True)

    def _decay_groups(self, parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
        """Two groups: the weights of layers with weight decay, all others without."""
        groups = [
            {"params": [p for p in parameters if id(p) in self._matrices], "weight_decay": weight_decay},
            {"params": [p for p in parameters if id(p) not in self._matrices], "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def set_rate(self, factor: float) -> None:
        """Set every learning rate to a fraction of its peak."""
        for part, peaks in zip(self.parts, self._peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = peak * factor

    @property
    def rate(self) -> float:
        """The first learning rate as it stands."""
        return float(self.parts[0].param_groups[0]["lr"])

    def step(self, *, max_norm: float = 0.0, scaler: GradScaler | None = None) -> None:
        """Move the weights along their gradients, and drop the gradients.

        Args:
            max_norm: longer gradients, all weights together, are shortened to it; 0 leaves them alone.
            scaler: what the loss was scaled with; leaves the weights where they are if a gradient is infinite.
        """
        for parameter, matrix in self._muon_pairs:
            matrix.grad = None if parameter.grad is None else flattened(parameter.grad, like=parameter)
        if max_norm:
            if scaler is not None:
                scaler.unscale_(self._as_one)
            nn.utils.clip_grad_norm_(self._moved, max_norm)
        if scaler is None:
            for part in self.parts:
                part.step()
        else:
            scaler.step(self._as_one)
            scaler.update()
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, for `last.pt`."""
        return {"parts": [part.state_dict() for part in self.parts], "rule": self._rule}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned for the same network and settings.

        A run goes on with the groups that it began with, be they those of an earlier version.

        Raises:
            ValueError: it is that of another network.
        """
        if (rule := state.get("rule", NDIM_RULE)) != self._rule:
            self._build(rule)
        for part, values in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(values)
            for parameter, kept in part.state.items():
                # PyTorch compares how many there are, and not their shapes.
                for name, value in kept.items():
                    if isinstance(value, torch.Tensor) and value.ndim and value.shape != parameter.shape:
                        found, wanted = list(value.shape), list(parameter.shape)
                        raise ValueError(f"its {name} of a weight is {found}, and the weight {wanted}")


class _Together:
    """Several optimisers as the one that GradScaler asks for: all of them step, or none."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self._parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of all."""
        return [group for part in self._parts for group in part.param_groups]

    def step(self) -> None:
        """A step of each."""
        for part in self._parts:
            part.step()


def _can_fuse(parameters: Sequence[nn.Parameter]) -> bool:
    # One kernel for all weights; torch has it for these devices and real numbers only.
    return all(p.device.type in ("cpu", "cuda", "xpu", "mps") and torch.is_floating_point(p) for p in parameters)
