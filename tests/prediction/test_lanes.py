"""Batches answered at the same time: order, memory, errors, and whose cores they use."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from colour_runner import ColourRunner, picture

from imgcls.core.transforms import Floats, Pixels
from imgcls.data.sources import Source
from imgcls.models.catalog import load_model
from imgcls.prediction.batch_runner import BatchRunner
from imgcls.prediction.lanes import Lanes
from imgcls.prediction.runner import DeviceMemoryError
from imgcls.prediction.stream import StreamSettings, classify_stream
from imgcls.prediction.torch_runner import TorchRunner

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
    shares: list[int] = []

    class Sharing(ColourRunner):
        num_lanes = 3

        def share_cores(self, num_sharing: int) -> None:
            shares.append(num_sharing)

    runner = Sharing()
    lanes = lanes_of(runner, is_steady=is_steady)
    for _ in range(2):
        assert not list(lanes.add("one", pictures(1)))
        assert len(list(lanes.drain())) == 1
    lanes.close()
    # At the end the caller has all of them again.
    assert shares == [3 if is_steady else 1] * 2 + [1]


def test_a_networks_threads_are_shared_and_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        runner = TorchRunner(load_model("cifar10-cnn"), torch.device("cpu"))
        assert runner.num_lanes == 4
        seen: list[int] = []

        def note() -> None:
            runner.share_cores(2)
            seen.append(torch.get_num_threads())

        thread = threading.Thread(target=note)
        thread.start()
        thread.join()
        assert seen == [2]
        runner.share_cores(1)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_an_error_of_the_model_comes_to_the_caller():
    class Broken(ColourRunner):
        def probabilities(self, images_BHWC: Pixels) -> Floats:
            raise ZeroDivisionError

    lanes = lanes_of(Broken())
    list(lanes.add("a", pictures(1)))
    with pytest.raises(ZeroDivisionError):
        list(lanes.drain())
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
