import os
import sys

import pytest

from imgcls.environment import accelerators
from imgcls.environment.accelerators import NvidiaDriver, TorchAccelerators, judge_accelerators, probe_nvidia_driver
from imgcls.environment.report import Status

DRIVER = NvidiaDriver("570.124.06", ("NVIDIA H200",), 1)
NO_DRIVER = NvidiaDriver(hardware=0)


def torch_sees(cuda=0, *, build="13.2", hip="", problem=""):
    return TorchAccelerators(build, hip, False, False, {"cuda": cuda, "xpu": 0, "mps": 0}, problem)


def judge(seen, driver, visible_devices=None):
    return judge_accelerators(seen, driver, visible_devices=visible_devices)


def test_a_card_that_torch_sees():
    check = judge(torch_sees(1), DRIVER)
    assert check.status is Status.OK
    assert "built for 13.2, NVIDIA driver 570.124.06, 1 device" in check.detail
    assert check.data["nvidia_driver"]["cards"] == ("NVIDIA H200",)


def test_a_cuda_build_on_a_machine_without_a_card_is_no_cause_for_alarm():
    check = judge(torch_sees(), NO_DRIVER)
    assert (check.status, check.advice) == (Status.OK, "")
    assert "no NVIDIA driver" in check.detail


def test_a_driver_beside_a_torch_without_cuda():
    check = judge(torch_sees(build=""), DRIVER)
    assert check.status is Status.WARNING
    assert "built without CUDA" in check.detail
    assert "pip install --force-reinstall torch torchvision" in check.advice


@pytest.mark.parametrize(("value", "hidden"), [("", True), ("-1", True), ("0", False), (None, False)])
def test_a_card_hidden_by_the_environment(value, hidden):
    check = judge(torch_sees(), DRIVER, value)
    assert check.status is Status.WARNING
    assert ("hides" in check.detail) is hidden
    assert ("unset CUDA_VISIBLE_DEVICES" in check.advice) is hidden


def test_a_driver_that_is_too_old():
    problem = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."
    check = judge(torch_sees(problem=problem), DRIVER)
    assert check.status is Status.WARNING
    assert "found version 11040" in check.detail
    assert "update the NVIDIA driver to one that serves CUDA 13.2" in check.advice


def test_a_driver_that_torch_can_not_use_for_another_reason():
    check = judge(torch_sees(problem="CUDA unknown error"), DRIVER)
    assert "torch sees no card: CUDA unknown error" in check.detail
    assert "nvidia-smi" in check.advice


def test_a_card_without_a_driver():
    check = judge(torch_sees(), NvidiaDriver(hardware=2))
    assert check.status is Status.WARNING
    assert "2 NVIDIA cards" in check.detail
    assert "install NVIDIA's driver" in check.advice


def test_rocm_is_named_as_such():
    check = judge(torch_sees(1, build="", hip="7.0"), NO_DRIVER)
    assert check.status is Status.OK
    assert "ROCm 7.0: 1 device" in check.detail


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a script with a shebang line")
@pytest.mark.parametrize(
    ("body", "version", "cards", "problem"),
    [
        ("print('570.1, NVIDIA H200'); print('570.1, NVIDIA A10')", "570.1", ("NVIDIA H200", "NVIDIA A10"), ""),
        ("print('NVIDIA-SMI has failed\\nmore'); raise SystemExit(9)", "", (), "NVIDIA-SMI has failed"),
        ("pass", "", (), "nvidia-smi lists no card"),
        ("import time; time.sleep(60)", "", (), "nvidia-smi did not answer within 0.5 s"),
    ],
    ids=["two_cards", "fails", "silent", "hangs"],
)
def test_what_nvidia_smi_says(tmp_path, monkeypatch, body, version, cards, problem):
    script = tmp_path / "nvidia-smi"
    script.write_text(f"#!{sys.executable} -S\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(accelerators, "NVIDIA_SMI_LIMIT_SEC", 0.5 if "sleep" in body else 20)
    monkeypatch.setattr(accelerators, "kernel_module_version", lambda: "")
    driver = probe_nvidia_driver()
    assert (driver.version, driver.cards, driver.problem) == (version, cards, problem)


def test_cards_are_counted_on_the_bus(tmp_path):
    for name, vendor, kind in (("a", "0x10de", "0x030200"), ("b", "0x10de", "0x040300"), ("c", "0x8086", "0x030000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")
    (tmp_path / "empty").mkdir()
    assert accelerators._nvidia_hardware(tmp_path) == 1
    assert accelerators._nvidia_hardware(tmp_path / "missing") is None
