"""Random numbers that depend on the seed, the epoch and their purpose, and on nothing that came before.

So an epoch can be done again from its start with nothing saved but its number; only a run that is cut within an epoch
has to save where its generators stand.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor


def seed_for(seed: int, purpose: str, epoch: int = 0) -> int:
    """A seed of 63 bits for one purpose in one epoch; streams of different purposes are unrelated."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(seed: int, purpose: str, epoch: int = 0, *, device: torch.device | str = "cpu") -> Generator:
    """A generator seeded with `seed_for`."""
    return Generator(device=device).manual_seed(seed_for(seed, purpose, epoch))


def epoch_order(seed: int, epoch: int, num_images: int) -> Tensor:
    """The order of an epoch's images: a permutation, int64, made on the CPU to be the same on every device."""
    return torch.randperm(num_images, generator=generator_for(seed, "order", epoch))


def sharded_order(seed: int, epoch: int, shards_N: Tensor, *, buffer: int) -> Tensor:
    """An epoch's order that reads a few shards at a time: shards in random order, and the images of several shuffled.

    So many shards as hold `buffer` images are shuffled together, so that a disk reads them nearly in a row. Data that
    a buffer holds have the order of `epoch_order`.

    Args:
        seed: see `epoch_order`.
        epoch: likewise.
        shards_N: which shard each image lies in, int64, on the CPU.
        buffer: images that are shuffled together, at least.
    Returns:
        A permutation, int64.
    """
    if len(shards_N) <= buffer:
        return epoch_order(seed, epoch, len(shards_N))
    generator = generator_for(seed, "order", epoch)
    ids, place_N = torch.unique(shards_N, return_inverse=True)
    rank_S = torch.empty_like(ids)
    rank_S[torch.randperm(len(ids), generator=generator)] = torch.arange(len(ids))
    rank_N = rank_S[place_N]
    # Whole shards belong to the buffer in which their first image is.
    sizes_S = torch.bincount(rank_N, minlength=len(ids))
    first_S = sizes_S.cumsum(0) - sizes_S
    group_N = (first_S // buffer)[rank_N]
    order_N = torch.randperm(len(shards_N), generator=generator)
    return order_N[group_N[order_N].argsort(stable=True)]


@contextmanager
def forked_rng(device: torch.device) -> Iterator[None]:
    """Give torch's global generators, which dropout and initialisation use, back as they were found."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        yield


def rng_state(device: torch.device) -> dict[str, Any]:
    """Where torch's global generators stand: the CPU's and the device's."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state(*_which(device))
    return state


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Put torch's global generators where `rng_state` found them; another kind of device has nothing to restore."""
    torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type], *_which(device))


def _which(device: torch.device) -> tuple[torch.device, ...]:
    # Of several GPUs the current one would be meant otherwise; of MPS devices there is one.
    return (device,) if device.type != "mps" else ()
