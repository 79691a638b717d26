from pathlib import Path

import pytest

from imgcls.host.accelerator_signs import may_have_accelerator


@pytest.mark.skipif("sys.platform != 'linux'", reason="Linux's files")
@pytest.mark.parametrize(
    ("build", "file", "expected"),
    [
        ("cu126", "dev/nvidia0", True),
        ("cu126", "dev/dri", False),
        ("cu126", None, False),
        ("rocm6.2", "dev/kfd", True),
        ("xpu", "dev/dri", True),
        ("cpu", "dev/nvidia0", False),
    ],
)
def test_what_drivers_leave_tells(tmp_path: Path, build: str, file: str | None, expected: bool) -> None:
    if file is not None:
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    assert may_have_accelerator(build=build, root=tmp_path) is expected
