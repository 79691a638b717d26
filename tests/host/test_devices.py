"""The device that is chosen, and why."""

import pytest
import torch

from imgcls.errors import DeviceError, UsageError
from imgcls.host.devices import choose_device, device_count, supports_bfloat16


def absent(monkeypatch, *kinds):
    monkeypatch.setattr("imgcls.host.devices.device_count", lambda kind: 0 if kind in kinds else device_count(kind))


def test_cpu():
    choice = choose_device("cpu")
    assert choice.device == torch.device("cpu")
    assert choice.reason == "asked for"


def test_auto_without_accelerator(monkeypatch):
    absent(monkeypatch, "cuda", "xpu", "mps")
    assert choose_device().device == torch.device("cpu")
    assert choose_device("auto").reason == "no accelerator found"


def test_auto_takes_the_first_accelerator(monkeypatch):
    monkeypatch.setattr("imgcls.host.devices.device_count", lambda kind: {"cuda": 0, "xpu": 2}.get(kind, 1))
    choice = choose_device("auto")
    assert choice.device == torch.device("xpu", 0)
    assert choice.reason == "first of 2 xpu devices"


@pytest.mark.parametrize("request_", ["gpu", "", "cuda:x", "meta", "CPU "])
def test_unknown(request_):
    with pytest.raises(UsageError, match="unknown device"):
        choose_device(request_)


@pytest.mark.parametrize("request_", ["cuda", "cuda:0", "xpu", "mps"])
def test_absent(monkeypatch, request_):
    absent(monkeypatch, "cuda", "xpu", "mps")
    with pytest.raises(DeviceError, match=f"'{request_}' is not available") as caught:
        choose_device(request_)
    assert "env-check" in caught.value.hint


def test_index_out_of_range(monkeypatch):
    monkeypatch.setattr("imgcls.host.devices.device_count", lambda kind: 2)
    assert choose_device("cuda:1").device == torch.device("cuda", 1)
    assert choose_device("cuda").device == torch.device("cuda", 0)
    with pytest.raises(DeviceError, match="2 cuda device") as caught:
        choose_device("cuda:2")
    assert "cuda:0 to cuda:1" in caught.value.hint


def test_counts_are_torchs():
    assert device_count("cpu") == 1
    assert device_count("cuda") == (torch.cuda.device_count() if torch.cuda.is_available() else 0)
    assert device_count("mps") == int(torch.backends.mps.is_available())


def test_bfloat16_is_answered_for_the_cpu():
    assert supports_bfloat16(torch.device("cpu")) in (True, False)
