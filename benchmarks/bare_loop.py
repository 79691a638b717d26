"""The training loop that a competent user writes by hand, as the baseline of `overhead.py`.

All images in one tensor, a batch by index, augmentation in a few tensor operations, cross-entropy, a step of torch's
optimisers. It builds its network from the recipe as imgcls does, and does what the recipe says with the same
arithmetic; what it can't do is listed in `KEPT` by its absence.

Shapes: N images, B batch, C channels (3), H height, W width, K classes.
"""

import cifar10_files
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from imgcls.models.building import build_network
from imgcls.recipes.loading import load_recipe
from imgcls.recipes.schema import Recipe

# The recipe's keys that this loop follows; the others take their defaults, on both sides.
KEPT: dict[str, tuple[str, ...]] = {
    "model": ("name", "arguments"),
    "data": ("source", "image_px", "allow_modified"),
    "optim": (
        "name",
        "lr",
        "rest_lr",
        "weight_decay",
        "rest_weight_decay",
        "momentum",
        "beta2",
        "nesterov",
        "label_smoothing",
    ),
    "augment": ("flip", "translate_px", "padding"),
    "train": ("epochs", "batch_size", "eval_batch_size", "seed", "precision", "channels_last"),
}


def followed(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """The recipe without what this loop can't do, with a constant learning rate; and the keys that were dropped."""
    whole = recipe.to_dict()
    kept = {name: {key: value for key, value in whole[name].items() if key in keys} for name, keys in KEPT.items()}
    settings = {f"{name}.{key}": value for name, table in kept.items() for key, value in table.items()}
    plain = load_recipe(flags=settings | {"schedule.shape": "constant", "schedule.warmup": 0.0})
    changed = plain.to_dict()
    dropped = [
        f"{name}.{key}" for name, table in whole.items() for key in table if table[key] != changed[name].get(key)
    ]
    return plain, [key for key in dropped if not key.startswith("data.")]


class BareLoop:
    """A network and its data, epoch after epoch.

    Args:
        recipe: as `followed` returns it.
        data: the images.
        device: where it runs.
        autocast_dtype: bfloat16, or None for float32 throughout.
    """

    def __init__(
        self, recipe: Recipe, data: cifar10_files.Cifar10, *, device: torch.device, autocast_dtype: torch.dtype | None
    ) -> None:
        self.recipe, self.device = recipe, device
        torch.manual_seed(recipe.train.seed)
        num_classes = int(data.train_labels_N.max()) + 1
        network = build_network(recipe.model.name, num_classes=num_classes, arguments=recipe.model.arguments)
        layout = torch.channels_last if recipe.train.channels_last else torch.contiguous_format
        self.network, self.layout = network.to(device, memory_format=layout), layout
        self.images_NCHW, self.labels_N = data.train_NCHW.to(device), data.train_labels_N.to(device)
        reach = recipe.augment.translate_px
        if reach:
            # Padded once. A pixel's three colours lie together, so that a window is copied in few pieces.
            index = torch.arange(-reach, self.images_NCHW.shape[-1] + reach, device=device).abs()
            reflected = torch.minimum(index, 2 * (self.images_NCHW.shape[-1] - 1) - index)
            self.padded_NHWC = self.images_NCHW[:, :, reflected][:, :, :, reflected].permute(0, 2, 3, 1).contiguous()
        self.mean, self.std = (
            torch.tensor(v, device=device).view(3, 1, 1) for v in (recipe.data.mean, recipe.data.std)
        )
        self.flipped_N = torch.rand(len(self.labels_N), device=device) < 0.5
        self.autocast = torch.autocast(device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None)
        self._make_optimisers([p for p in network.parameters() if p.requires_grad])

    def epoch(self, number: int) -> float:
        """Train on every image once; returns the mean loss."""
        size, total = self.recipe.train.batch_size, torch.zeros((), device=self.device)
        self.network.train()
        order_N = torch.randperm(len(self.labels_N), device=self.device)
        for rows_B in order_N.split(size):
            input_BCHW = self._batch(rows_B, number).float().div_(255).sub_(self.mean).div_(self.std)
            with self.autocast:
                logits_BK = self.network(input_BCHW.contiguous(memory_format=self.layout))
            smoothing = self.recipe.optim.label_smoothing
            loss = F.cross_entropy(logits_BK.float(), self.labels_N[rows_B], label_smoothing=smoothing)
            loss.backward()
            for filters, matrix in self.matrices:
                matrix.grad = as_matrix(filters.grad)
            for optimiser in self.optimisers:
                optimiser.step()
            self.network.zero_grad()
            total += loss.detach() * len(rows_B)
        return total.item() / len(self.labels_N)

    def _batch(self, rows_B: Tensor, epoch: int) -> Tensor:
        augment, count = self.recipe.augment, len(rows_B)
        flip_B = None
        if augment.flip == "alternate":
            flip_B = self.flipped_N[rows_B] ^ bool(epoch % 2)
        elif augment.flip == "random":
            flip_B = torch.rand(count, device=self.device) < 0.5
        if not augment.translate_px:
            images_BCHW = self.images_NCHW.index_select(0, rows_B)
            if flip_B is None:
                return images_BCHW
            return torch.where(flip_B[:, None, None, None], images_BCHW.flip(-1), images_BCHW)
        side = torch.arange(self.images_NCHW.shape[-1], device=self.device)
        top_B, left_B = torch.randint(0, 2 * augment.translate_px + 1, (2, count), device=self.device)
        across_BW = side if flip_B is None else torch.where(flip_B[:, None], side.flip(0), side)
        across_BW = across_BW + left_B[:, None]
        down_BH = side + top_B[:, None]
        windows_BHWC = self.padded_NHWC[rows_B[:, None, None], down_BH[:, :, None], across_BW[:, None, :]]
        return windows_BHWC.permute(0, 3, 1, 2)

    def _make_optimisers(self, parameters: list[nn.Parameter]) -> None:
        optim = self.recipe.optim
        large = [p for p in parameters if p.ndim >= 2]
        small = [p for p in parameters if p.ndim < 2]
        self.matrices: list[tuple[nn.Parameter, nn.Parameter]] = []
        groups = [{"params": large, "weight_decay": optim.weight_decay}, {"params": small, "weight_decay": 0.0}]
        if optim.name == "sgd":
            self.optimisers = [
                torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.nesterov, fused=True)
            ]
        elif optim.name == "adamw":
            betas = (optim.momentum, optim.beta2)
            self.optimisers = [torch.optim.AdamW(groups, lr=optim.lr, betas=betas, fused=True)]
        else:
            *hidden, last = large
            self.matrices = [(p, nn.Parameter(as_matrix(p.detach()))) for p in hidden]
            muon = torch.optim.Muon(
                [matrix for _p, matrix in self.matrices],
                lr=optim.lr,
                weight_decay=optim.weight_decay,
                momentum=optim.momentum,
                nesterov=optim.nesterov,
            )
            rest = [{"params": [last], "weight_decay": optim.rest_weight_decay}, {"params": small, "weight_decay": 0.0}]
            self.optimisers = [
                muon,
                torch.optim.AdamW(rest, lr=optim.rest_lr, betas=(0.9, optim.beta2), fused=True),
            ]


def as_matrix(filters: Tensor) -> Tensor:
    """One row an output; filters in channels_last are not copied."""
    return filters if filters.ndim == 2 else filters.permute(0, 2, 3, 1).reshape(len(filters), -1)
