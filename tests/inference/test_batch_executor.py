"""Batches answered at the same time: order, memory, errors, and whose cores they use."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from colour_backend import ColourRunner, picture

from imgcls.images.sources import Source
from imgcls.images.transform import Floats, Pixels
from imgcls.inference.backends.backend import DeviceMemoryError
from imgcls.inference.backends.torch_backend import TorchRunner
from imgcls.inference.batch_executor import Lanes
from imgcls.inference.batching import BatchRunner
from imgcls.inference.pipeline import StreamSettings, classify_stream
from imgcls.models.loading import load_model

LONG_SEC = 60


def pictures(count: int) -> list[Pixels]:
    return list(np.random.default_rng(count).integers(1, 256, (count, 8, 8, 3), dtype=np.uint8))


def lanes_of(
    runner: ColourRunner, *, batch_size: int = 4, is_steady: bool = False, said: list[int] | None = None
) -> Lanes[str]:
    batches = BatchRunner(runner, batch_size=batch_size, on_smaller_batch=(said if said is not None else []).append)
    return Lanes(runner, batches, is_steady=is_steady)


def test_answers_keep_their_order_whoever_is_first():
    later_is_through = threading.Event()

    class SecondIsFirst(ColourRunner):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            answers = super().probabilities(images_BHWC)
            if len(images_BHWC) == 1:
                assert later_is_through.wait(LONG_SEC)
            later_is_through.set()
            return answers

    runner = SecondIsFirst()
    lanes = lanes_of(runner)
    answered = [*lanes.add("first", pictures(1)), *lanes.add("second", pictures(2)), *lanes.drain()]
    assert [(what, len(answers)) for what, answers in answered] == [("first", 1), ("second", 2)]
    for count, (_, answers) in enumerate(answered, start=1):
        np.testing.assert_array_equal(answers, ColourRunner().probabilities(np.stack(pictures(count))))
    lanes.close()


def test_two_batches_that_memory_cant_hold_are_told_of_once():
    both_tried = threading.Barrier(2)

    class SmallMemory(ColourRunner):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            if len(images_BHWC) > 3:
                both_tried.wait(LONG_SEC)
                raise DeviceMemoryError("no memory")
            return super().probabilities(images_BHWC)

    said: list[int] = []
    lanes = lanes_of(SmallMemory(), said=said)
    answered = [*lanes.add("a", pictures(4)), *lanes.add("b", pictures(4)), *lanes.drain()]
    lanes.close()
    assert [len(answers) for _, answers in answered] == [4, 4]
    assert said == [2]


@pytest.mark.parametrize("is_steady", [False, True])
def test_a_batch_that_is_alone_has_all_cores_unless_answers_are_steady(is_steady):
    used: list[int] = []

    class Sharing(ColourRunner):
        num_threads = 3

        def use_threads(self, count: int) -> None:
            used.append(count)

    runner = Sharing()
    lanes = lanes_of(runner, is_steady=is_steady)
    for _ in range(2):
        assert len([*lanes.add("one", pictures(1)), *lanes.drain()]) == 1
    lanes.close()
    # At the end the caller has all of them again.
    assert used == [1 if is_steady else 3] * 2 + [3]


def test_a_networks_threads_are_shared_and_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        runner = TorchRunner(load_model("cifar10-cnn"), torch.device("cpu"))
        seen: list[int] = []

        class Noting(BatchRunner):
            def probabilities(self, images: Sequence[Pixels]) -> Iterator[Floats]:
                seen.append(torch.get_num_threads())
                return super().probabilities(images)

        lanes: Lanes[str] = Lanes(runner, Noting(runner, batch_size=4), is_steady=True)
        image = np.zeros((32, 32, 3), np.uint8)
        assert len([*lanes.add("a", [image]), *lanes.add("b", [image]), *lanes.drain()]) == 2
        lanes.close()
        assert seen == [1, 1]
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_one_picture_that_fits_only_alone_is_answered_alone():
    """Each picture takes all of the memory, and two are asked about at the same time."""
    both_tried, working = threading.Barrier(2, timeout=LONG_SEC), threading.Semaphore(1)
    tried: set[int] = set()

    class RoomForOne(ColourRunner):
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

    lanes = lanes_of(RoomForOne(), batch_size=1)
    answered = [*lanes.add("a", pictures(1)), *lanes.add("b", pictures(1)), *lanes.drain()]
    lanes.close()
    assert [what for what, _ in answered] == ["a", "b"]


def test_what_is_answered_waits_for_no_lane():
    lanes = lanes_of(ColourRunner())
    answered: list[str] = []
    for number in range(1000):
        answered += [what for what, _ in lanes.add(str(number), pictures(1))]
        if number == 1 and not answered:
            threading.Event().wait(0.05)
        if answered:
            break
    # The third at the latest, where the lanes alone would have kept back three.
    assert answered[0] == "0"
    assert number <= 3
    lanes.close()


def test_what_has_no_lane_yet_can_be_taken_back():
    let_go = threading.Event()

    class Waiting(ColourRunner):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            assert let_go.wait(LONG_SEC)
            return super().probabilities(images_BHWC)

    lanes = lanes_of(Waiting())
    for what in ("a", "b", "c"):
        assert not list(lanes.add(what, pictures(1)))
    lanes.drop_waiting()
    let_go.set()
    assert [what for what, _ in lanes.drain()] == ["a", "b"]
    lanes.close()


def test_an_error_of_the_model_comes_to_the_caller():
    class Broken(ColourRunner):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            raise ZeroDivisionError

    lanes = lanes_of(Broken())
    with pytest.raises(ZeroDivisionError):
        _ = [*lanes.add("a", pictures(1)), *lanes.drain()]
    lanes.close()


def test_full_batches_wait_for_no_further_input(tmp_path):
    picture(200, 0, 0).save(tmp_path / "a.png")
    answered = threading.Event()

    def two_with_a_pause() -> Iterator[Source]:
        yield Source("a.png", tmp_path / "a.png")
        assert answered.wait(LONG_SEC)
        yield Source("a.png", tmp_path / "a.png")

    records = classify_stream(two_with_a_pause(), ColourRunner(), StreamSettings(top_k=1, batch_size=1))
    next(records)
    answered.set()
    assert len(list(records)) == 1
