"""Batches answered at the same time: order, memory, errors, and whose cores they use."""

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from colour_backend import ColourBackend, draw_image

from imgcls.images.inputs.source import Source
from imgcls.images.transform import Floats, Pixels
from imgcls.inference.backends.backend import DeviceMemoryError
from imgcls.inference.backends.torch_backend import TorchBackend
from imgcls.inference.batch_executor import Batcher, BatchExecutor
from imgcls.inference.pipeline import StreamSettings, classify_stream
from imgcls.models.loading import load_model

LONG_SEC = 60


def draw_images(count: int) -> list[Pixels]:
    return list(np.random.default_rng(count).integers(1, 256, (count, 8, 8, 3), dtype=np.uint8))


Named = tuple[str, Sequence[Pixels]]


def answering(batches: Batcher) -> Callable[[Named], tuple[str, list[Floats]]]:
    """Answers a batch that has a name."""
    return lambda batch: (batch[0], list(batches.probabilities(batch[1])))


def executor_of(
    backend: ColourBackend, *, batch_size: int = 4, is_reproducible: bool = False, said: list[int] | None = None
) -> BatchExecutor[Named, tuple[str, list[Floats]]]:
    batches = Batcher(backend, batch_size=batch_size, on_smaller_batch=(said if said is not None else []).append)
    return BatchExecutor(answering(batches), backend, is_reproducible=is_reproducible)


def test_answers_keep_their_order_whoever_is_first():
    later_is_through = threading.Event()

    class SecondIsFirst(ColourBackend):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            answers = super().probabilities(images_BHWC)
            if len(images_BHWC) == 1:
                assert later_is_through.wait(LONG_SEC)
            later_is_through.set()
            return answers

    backend = SecondIsFirst()
    executor = executor_of(backend)
    answered = [*executor.add(("first", draw_images(1))), *executor.add(("second", draw_images(2))), *executor.drain()]
    assert [(what, len(answers)) for what, answers in answered] == [("first", 1), ("second", 2)]
    for count, (_, answers) in enumerate(answered, start=1):
        np.testing.assert_array_equal(answers, ColourBackend().probabilities(np.stack(draw_images(count))))
    executor.close()


def test_two_batches_that_memory_cant_hold_are_told_of_once():
    both_tried = threading.Barrier(2)

    class SmallMemory(ColourBackend):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            if len(images_BHWC) > 3:
                both_tried.wait(LONG_SEC)
                raise DeviceMemoryError("no memory")
            return super().probabilities(images_BHWC)

    said: list[int] = []
    executor = executor_of(SmallMemory(), said=said)
    answered = [*executor.add(("a", draw_images(4))), *executor.add(("b", draw_images(4))), *executor.drain()]
    executor.close()
    assert [len(answers) for _, answers in answered] == [4, 4]
    assert said == [2]


@pytest.mark.parametrize("is_reproducible", [False, True])
def test_a_batch_that_is_alone_has_all_cores_unless_answers_are_reproducible(is_reproducible):
    used: list[int] = []

    class Sharing(ColourBackend):
        num_threads = 3

        def use_threads(self, count: int) -> None:
            used.append(count)

    backend = Sharing()
    executor = executor_of(backend, is_reproducible=is_reproducible)
    for _ in range(2):
        assert len([*executor.add(("one", draw_images(1))), *executor.drain()]) == 1
    executor.close()
    # At the end the caller has all of them again.
    assert used == [1 if is_reproducible else 3] * 2 + [3]


def test_a_networks_threads_are_shared_and_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        backend = TorchBackend(load_model("cifar10-cnn"), torch.device("cpu"))
        seen: list[int] = []

        class Noting(Batcher):
            def probabilities(self, images: Sequence[Pixels]) -> Iterator[Floats]:
                seen.append(torch.get_num_threads())
                return super().probabilities(images)

        executor = BatchExecutor(answering(Noting(backend, batch_size=4)), backend, is_reproducible=True)
        image = np.zeros((32, 32, 3), np.uint8)
        assert len([*executor.add(("a", [image])), *executor.add(("b", [image])), *executor.drain()]) == 2
        executor.close()
        assert seen == [1, 1]
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_one_image_that_fits_only_alone_is_answered_alone():
    """Each image takes all of the memory, and two are asked about at the same time."""
    both_tried, working = threading.Barrier(2, timeout=LONG_SEC), threading.Semaphore(1)
    tried: set[int] = set()

    class RoomForOne(ColourBackend):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            if threading.get_ident() not in tried:
                tried.add(threading.get_ident())
                both_tried.wait()
                raise DeviceMemoryError("no memory")
            assert working.acquire(blocking=False)
            try:
                return super().probabilities(images_BHWC)
            finally:
                working.release()

    executor = executor_of(RoomForOne(), batch_size=1)
    answered = [*executor.add(("a", draw_images(1))), *executor.add(("b", draw_images(1))), *executor.drain()]
    executor.close()
    assert [what for what, _ in answered] == ["a", "b"]


def test_what_is_answered_waits_for_no_further_batch():
    executor = executor_of(ColourBackend())
    answered: list[str] = []
    for number in range(1000):
        answered += [what for what, _ in executor.add((str(number), draw_images(1)))]
        if answered:
            break
    # The third at the latest, where the executor alone would have kept back three.
    assert answered[0] == "0"
    assert number <= 3
    executor.close()


def test_a_batch_without_a_thread_can_be_taken_back():
    let_go = threading.Event()

    class Waiting(ColourBackend):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            assert let_go.wait(LONG_SEC)
            return super().probabilities(images_BHWC)

    executor = executor_of(Waiting())
    for what in ("a", "b", "c"):
        assert not list(executor.add((what, draw_images(1))))
    executor.drop_waiting()
    let_go.set()
    assert [what for what, _ in executor.drain()] == ["a", "b"]
    executor.close()


def test_an_error_of_the_model_comes_to_the_caller():
    class Broken(ColourBackend):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            raise ZeroDivisionError

    executor = executor_of(Broken())
    with pytest.raises(ZeroDivisionError):
        _ = [*executor.add(("a", draw_images(1))), *executor.drain()]
    executor.close()


def test_full_batches_wait_for_no_further_input(tmp_path):
    draw_image(200, 0, 0).save(tmp_path / "a.png")
    answered = threading.Event()

    def two_with_a_pause() -> Iterator[Source]:
        yield Source("a.png", tmp_path / "a.png")
        assert answered.wait(LONG_SEC)
        yield Source("a.png", tmp_path / "a.png")

    records = classify_stream(two_with_a_pause(), ColourBackend(), StreamSettings(top_k=1, batch_size=1))
    next(records)
    answered.set()
    assert len(list(records)) == 1
