"""Bytes that threads share: in turn, bounded, and held up by nobody who was left behind."""

import os
import threading

import pytest

from imgcls.errors import ImageError
from imgcls.images.decode_budget import ByteBudget

LONG_SEC = 60.0


class Holder(threading.Thread):
    """Reserves bytes until it is told to go."""

    def __init__(self, budget: ByteBudget, num_bytes: int) -> None:
        super().__init__(daemon=True)
        self.budget, self.num_bytes = budget, num_bytes
        self.has_them, self.may_go = threading.Event(), threading.Event()
        self.error: ImageError | None = None
        self.start()

    def run(self) -> None:
        try:
            with self.budget.reserve(self.num_bytes):
                self.has_them.set()
                assert self.may_go.wait(LONG_SEC)
        except ImageError as exc:
            self.error = exc

    def end(self) -> None:
        self.may_go.set()
        self.join(LONG_SEC)
        assert not self.is_alive()


def waits(holder: Holder) -> bool:
    """Whether a holder has come to the point where it waits; it must not have its bytes."""
    assert holder.ident is not None
    while not holder.budget.waited_sec(holder.ident):
        assert not holder.has_them.is_set()
    return True


def test_large_ones_wait_for_each_other_and_one_beyond_all_goes_alone() -> None:
    budget = ByteBudget(100)
    first = Holder(budget, 60)
    assert first.has_them.wait(LONG_SEC)
    second = Holder(budget, 500)
    assert waits(second)
    # In turn: it would fit, but the larger one came first.
    third = Holder(budget, 10)
    assert waits(third)
    first.end()
    assert second.has_them.wait(LONG_SEC)
    assert not third.has_them.is_set()
    second.end()
    assert third.has_them.wait(LONG_SEC)
    third.end()


def test_who_was_given_up_holds_up_nobody() -> None:
    budget = ByteBudget(100)
    runaway = Holder(budget, 100)
    assert runaway.has_them.wait(LONG_SEC)
    impatient, good = Holder(budget, 80), Holder(budget, 100)
    assert waits(impatient)
    assert waits(good)
    budget.give_up(impatient.ident or 0)
    impatient.join(LONG_SEC)
    assert impatient.error is not None
    budget.give_up(runaway.ident or 0)
    assert good.has_them.wait(LONG_SEC)
    # What the runaway lets go of in the end was taken from it before, and is not counted twice.
    runaway.end()
    late = Holder(budget, 1)
    assert waits(late)
    good.end()
    assert late.has_them.wait(LONG_SEC)
    late.end()
    budget.give_up(good.ident or 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_waits_for_no_thread_of_its_parent() -> None:
    from imgcls.images.decode_budget import DECODING

    holder = Holder(DECODING, 1 << 62)
    assert holder.has_them.wait(LONG_SEC)
    child = os.fork()
    if child == 0:
        with DECODING.reserve(1 << 62):
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    holder.end()
