import pytest
import torch

from imgcls.distributed import process_group as module
from imgcls.distributed.launch import Launch
from imgcls.distributed.process_group import Processes, choose_device_of, joined, may_speak
from imgcls.errors import DeviceError, UsageError

TWO = Launch(rank=1, count=2, local_rank=1, local_count=2)


def test_one_process_by_itself_asks_nobody():
    alone = Processes()
    assert (alone.rank, alone.count, alone.is_first) == (0, 1, True)
    assert alone.from_first(lambda: 3) == 3
    assert alone.gather("own") == ["own"]
    columns = [torch.arange(2)]
    assert alone.gather_rows(columns) is columns
    assert alone.begin_maximum(torch.ones(1)) is None
    with alone.first_of_each_machine_first(), alone.noticing_losses(), pytest.raises(RuntimeError, match="gloo"):
        # Not of a partner, since there is none.
        raise RuntimeError("gloo")


def test_without_torchrun_nothing_is_joined(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with joined("cpu") as processes:
        assert processes.launch is None
    assert may_speak(None)


def test_each_process_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(module, "device_count", lambda kind: 2 if kind == "cuda" else 1)
    assert choose_device_of("auto", TWO).device == torch.device("cuda", 1)
    assert choose_device_of("cuda", TWO).device == torch.device("cuda", 1)
    assert choose_device_of("cpu", TWO).device == torch.device("cpu")


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(module, "device_count", lambda kind: 1)
    with pytest.raises(DeviceError, match=r"2 processes on this machine, but 1 CUDA device") as caught:
        choose_device_of("auto", TWO)
    assert "torchrun --nproc-per-node 1" in caught.value.hint
    assert "--device cpu" in caught.value.hint


def test_a_device_that_cannot_be_shared_out_is_refused(monkeypatch):
    monkeypatch.setattr(module, "device_count", lambda kind: 2)
    for request in ("cuda:1", "mps", "xpu"):
        with pytest.raises(UsageError, match=f"--device {request} doesn't go with 2 processes"):
            choose_device_of(request, TWO)


def test_without_gpus_the_processes_share_the_cpu(monkeypatch):
    monkeypatch.setattr(module, "device_count", lambda kind: 0 if kind == "cuda" else 1)
    assert choose_device_of("auto", TWO).device == torch.device("cpu")
    with pytest.raises(DeviceError, match="not available"):
        choose_device_of("cuda", TWO)
