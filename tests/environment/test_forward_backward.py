import math
from dataclasses import replace

import pytest
import torch

from imgcls.environment import devices
from imgcls.environment.forward_backward import CPU_TOLERANCE, PassAnswer, compare, run_pass
from imgcls.environment.report import Status

REFERENCE = PassAnswer(2.0, {"a": (1.0, -4.0), "b": (0.5,)}, 1.0)


def test_the_cpu_agrees_with_its_own_float64():
    exact = run_pass(torch.device("cpu"), torch.float64)
    answer = run_pass(torch.device("cpu"), torch.float32)
    outcome = compare(answer, exact, tolerance=CPU_TOLERANCE)
    assert outcome.agrees
    # float32 really was computed, and differs as rounding does.
    assert 0 < outcome.gradient_difference < 1e-5
    assert set(answer.gradients) == {
        *(f"{layer}.weight" for layer in (0, 1, 3, 4, 8)),
        *(f"{layer}.bias" for layer in (1, 4, 8)),
    }
    assert all(any(gradient) for gradient in answer.gradients.values())


def test_the_same_answer_twice():
    first, second = (run_pass(torch.device("cpu"), torch.float64) for _ in range(2))
    assert (first.loss, first.gradients) == (second.loss, second.gradients)


def test_differences_are_relative():
    outcome = compare(PassAnswer(2.02, {"a": (1.0, -4.04), "b": (0.5,)}, 1.0), REFERENCE, tolerance=0.05)
    assert outcome.loss_difference == pytest.approx(0.01)
    assert outcome.gradient_difference == pytest.approx(0.01)
    assert outcome.worst_parameter == "a"
    assert outcome.agrees


@pytest.mark.parametrize(
    "answer",
    [
        replace(REFERENCE, loss=2.5),
        replace(REFERENCE, loss=math.nan),
        replace(REFERENCE, loss=math.inf),
        replace(REFERENCE, gradients={"a": (1.0, -4.0), "b": (-0.5,)}),
        replace(REFERENCE, gradients={"a": (1.0, math.nan), "b": (0.5,)}),
        replace(REFERENCE, gradients={"a": (0.0, 0.0), "b": (0.0,)}),
        replace(REFERENCE, gradients={"a": (1.0, -4.0)}),
        replace(REFERENCE, gradients={"a": (1.0,), "b": (0.5,)}),
    ],
    ids=["loss", "nan_loss", "inf_loss", "sign", "nan_gradient", "all_zero", "missing", "short"],
)
def test_a_wrong_answer_is_caught(answer):
    assert not compare(answer, REFERENCE, tolerance=1e-2).agrees


def test_a_device_with_one_wrong_gradient_is_a_fault(monkeypatch):
    def tampered(device, dtype):
        answer = run_pass(device, dtype)
        if dtype is torch.float64:
            return answer
        values = answer.gradients["3.weight"]
        return replace(answer, gradients={**answer.gradients, "3.weight": (values[0] + 0.1, *values[1:])})

    monkeypatch.setattr(devices, "run_pass", tampered)
    devices._cpu_answer.cache_clear()
    try:
        check = devices.check_device("cpu")
    finally:
        devices._cpu_answer.cache_clear()
    assert check.status is Status.FAULT
    assert "WRONG ANSWERS" in check.detail
    assert "3.weight" in check.detail
    assert check.data["works"] is False


def test_a_pass_that_fails_is_a_fault_with_its_reason(monkeypatch):
    def broken(device, dtype):
        raise RuntimeError("CUDA error: out of memory\nmore")

    monkeypatch.setattr(devices, "run_pass", broken)
    devices._cpu_answer.cache_clear()
    check = devices.check_device("cpu")
    assert check.status is Status.FAULT
    assert "RuntimeError: CUDA error: out of memory" in check.detail
    assert "another program" in check.advice
    assert (check.data["works"], check.data["loss_difference"]) == (False, None)


def test_devices_are_named_as_the_option_takes_them():
    assert list(devices.names_of({"cuda": 2, "xpu": 1, "mps": 1})) == ["cuda:0", "cuda:1", "xpu:0", "mps"]
    assert list(devices.names_of({"cuda": 0, "xpu": 0, "mps": 0})) == []
