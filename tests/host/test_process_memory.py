import pytest
import torch

from imgcls.host.process_memory import (
    peak_device_bytes,
    peak_host_bytes,
    reset_peak_device_bytes,
    synchronize,
    total_device_bytes,
)

SIZE = 200 * 2**20


def test_the_peak_of_this_process():
    before = peak_host_bytes()
    assert before is not None
    # torch alone takes more than that, and no machine has more than this.
    assert 50 * 2**20 < before < 2**50
    block = torch.ones(SIZE, dtype=torch.uint8)
    after = peak_host_bytes()
    del block
    assert before <= after
    assert peak_host_bytes() >= after


def test_a_processor_is_no_device():
    cpu = torch.device("cpu")
    reset_peak_device_bytes(cpu)
    synchronize(cpu)
    assert peak_device_bytes(cpu) is None
    assert total_device_bytes(cpu) is None


@pytest.mark.gpu
def test_the_peak_of_a_device():
    device = torch.accelerator.current_accelerator()
    reset_peak_device_bytes(device)
    block = torch.ones(SIZE, dtype=torch.uint8, device=device)
    synchronize(device)
    del block
    assert SIZE <= peak_device_bytes(device) < total_device_bytes(device)
