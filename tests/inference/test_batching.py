"""Batches: sizes, padding, and what happens when memory runs out."""

import numpy as np
import pytest
import torch
from colour_backend import ColourBackend

from imgcls.host.devices import is_out_of_memory
from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.inference.backends.backend import DeviceMemoryError
from imgcls.inference.backends.torch_backend import TorchBackend
from imgcls.inference.batch_executor import Batcher
from imgcls.models.loading import load_model


class SmallMemory(ColourBackend):
    """Holds so many images at once and no more."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.sizes: list[int] = []

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        self.sizes.append(len(images_BHWC))
        if len(images_BHWC) > self.capacity:
            raise DeviceMemoryError("no memory")
        return super().probabilities(images_BHWC)


def draw_images(count: int) -> list[Pixels]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8))


def test_every_image_has_its_answer_in_order():
    images = draw_images(7)
    alone = [ColourBackend().probabilities(image[None])[0] for image in images]
    for batch_size in (1, 3, 7, 32):
        for is_padded in (False, True):
            backend = SmallMemory(99)
            answers = list(Batcher(backend, batch_size=batch_size, is_padded=is_padded).probabilities(images))
            np.testing.assert_array_equal(answers, alone)
            assert max(backend.sizes) == (batch_size if is_padded else min(batch_size, 7))
            assert not is_padded or set(backend.sizes) == {batch_size}
    assert list(Batcher(ColourBackend(), batch_size=4).probabilities([])) == []


@pytest.mark.parametrize("is_padded", [False, True])
def test_a_batch_too_large_is_halved_and_the_smaller_size_kept(is_padded):
    images = draw_images(20)
    said: list[int] = []
    backend = SmallMemory(5)
    batches = Batcher(backend, batch_size=16, is_padded=is_padded, on_smaller_batch=said.append)
    answers = list(batches.probabilities(images)) + list(batches.probabilities(images[:4]))
    np.testing.assert_array_equal(answers, list(ColourBackend().probabilities(np.stack(images + images[:4]))))
    assert backend.sizes == [16, 8, 4, 4, 4, 4, 4, 4]
    # Once, with the size that works, however often it was halved.
    assert said == [4]
    backend.capacity = 2
    list(batches.probabilities(images[:4]))
    assert said == [4, 2]


def test_not_even_one_image_fits():
    with pytest.raises(DeviceMemoryError):
        list(Batcher(SmallMemory(0), batch_size=4).probabilities(draw_images(3)))


class HungryNetwork(torch.nn.Module):
    """Fails as PyTorch's allocators do, above a number of images."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        if len(images_BCHW) > 2:
            raise self.failure
        return images_BCHW.mean(dim=(2, 3))


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("could not create a primitive"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_pytorchs_ways_to_say_that_memory_ran_out(failure, tiny_model):
    loaded = load_model(str(tiny_model))
    object.__setattr__(loaded, "network", HungryNetwork(failure))
    object.__setattr__(loaded, "transform", Transform(8, 8))
    backend = TorchBackend(loaded, torch.device("cpu"))
    said: list[int] = []
    answers = list(Batcher(backend, batch_size=8, on_smaller_batch=said.append).probabilities(draw_images(5)))
    assert (len(answers), said) == (5, [2])
    with pytest.raises(DeviceMemoryError, match=r"cpu has no memory for mlp@\w+ and 3 images at once") as caught:
        backend.probabilities(np.stack(draw_images(3)))
    assert caught.value.exit_code == 7


def test_other_failures_stay_what_they_are(tiny_model):
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor for a convolution"))
    loaded = load_model(str(tiny_model))
    object.__setattr__(loaded, "network", HungryNetwork(RuntimeError("shapes")))
    with pytest.raises(RuntimeError, match="shapes"):
        TorchBackend(loaded, torch.device("cpu")).probabilities(np.stack(draw_images(3)))


def test_a_padded_answer_does_not_depend_on_its_batch(tiny_model):
    backend = TorchBackend(load_model(str(tiny_model)), torch.device("cpu"))
    images = draw_images(40)
    whole = list(Batcher(backend, batch_size=16, is_padded=True).probabilities(images))
    for step in (1, 3, 7):
        batches = Batcher(backend, batch_size=16, is_padded=True)
        pieces = [a for start in range(0, 40, step) for a in batches.probabilities(images[start : start + step])]
        np.testing.assert_array_equal(pieces, whole)
