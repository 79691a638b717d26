import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ["imgcls", "python", "system", "cores", "memory", "disk", "torch", "torchvision", "numpy", "pillow"]
HAS_BUNDLED_MODEL = any(
    entry.name.endswith(".pt") for entry in resources.files("imgcls.models").joinpath("bundled").iterdir()
)


@pytest.fixture(scope="module")
def env_check(tmp_path_factory):
    """Run the command in a process of its own, with caches of its own; optionally with one package replaced."""

    def run(*arguments, broken=None, **variables):
        folder = tmp_path_factory.mktemp("env-check")
        search_path = [str(ROOT)]
        if broken:
            name, code = broken
            (folder / "broken" / name).mkdir(parents=True)
            (folder / "broken" / name / "__init__.py").write_text(code)
            search_path.insert(0, str(folder / "broken"))
        environment = {
            **{key: value for key, value in os.environ.items() if key not in ("IMGCLS_OFFLINE", "IMGCLS_DEBUG")},
            "IMGCLS_CACHE": str(folder / "cache"),
            "TORCH_HOME": str(folder / "torch"),
            "PYTHONPATH": os.pathsep.join(search_path),
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        command = [sys.executable, "-m", "imgcls", "env-check", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def whole(env_check):
    """One run on the machine as it is, which several tests read."""
    return env_check("--format", "json")


def test_a_sound_machine(whole):
    report = json.loads(whole.stdout)
    faults = [check for check in report["checks"] if check["status"] == "fault"]
    if not HAS_BUNDLED_MODEL:
        faults = [check for check in faults if check["name"] != "offline"]
    assert faults == []
    assert whole.stderr == ""


@pytest.mark.skipif(not HAS_BUNDLED_MODEL, reason="this checkout lacks the bundled model, which is a fault")
def test_exit_code_0_without_a_fault(whole):
    assert whole.returncode == 0
    assert json.loads(whole.stdout)["ok"] is True


def test_json_has_the_fields_that_scripts_read(whole):
    import torch

    report = json.loads(whole.stdout)
    assert report["schema"] == 1
    assert report["versions"]["torch"] == torch.__version__
    assert set(report["versions"]) >= {"imgcls", "python", "torch", "torchvision", "pillow", "numpy"}
    cpu = report["devices"][0]
    assert (cpu["device"], cpu["works"], cpu["compared_with"]) == ("cpu", True, "cpu float64")
    assert 0 <= cpu["gradient_difference"] <= cpu["tolerance"]
    assert isinstance(cpu["bfloat16"], bool)
    assert [cache["kind"] for cache in report["caches"]] == ["weights", "datasets", "cache"]
    assert report["offline"]["alexnet"] is False
    assert report["auto_device"]["reason"]
    names = [check["name"] for check in report["checks"]]
    assert names[: len(NAMES)] == NAMES
    assert {"accelerators", "device:cpu", "auto", "weights", "datasets", "cache", "offline"} <= set(names)
    for check in report["checks"]:
        assert set(check) - {"advice"} == {"name", "status", "detail", "data"}


@pytest.mark.parametrize("error", ["ImportError('no libcudart.so.13')", "OSError('file too short')", "SystemExit(3)"])
def test_a_torch_that_can_not_be_imported(env_check, error):
    done = env_check("-f", "json", broken=("torch", f"print('stray words'); raise {error}"))
    assert done.returncode == 7
    report = json.loads(done.stdout)
    checks = {check["name"]: check for check in report["checks"]}
    assert report["ok"] is False
    assert checks["torch"]["status"] == "fault"
    assert error.split("(")[0] in checks["torch"]["detail"]
    assert "pip install --force-reinstall torch torchvision" in checks["torch"]["advice"]
    assert "broken" in checks["torch"]["data"]["path"]
    assert checks["device:cpu"]["detail"] == "not tried: torch can't be imported"
    assert checks["pillow"]["status"] == "ok"
    assert (report["auto_device"], report["devices"]) == (None, [])


def test_a_torchvision_for_another_torch_and_a_device_that_is_not_there(env_check):
    code = "raise RuntimeError('operator torchvision::nms does not exist')"
    done = env_check("--device", "cuda:99", broken=("torchvision", code))
    assert done.returncode == 7
    lines = done.stdout.splitlines()
    index = next(number for number, line in enumerate(lines) if line.startswith("fault    torchvision"))
    assert "does not work with torch" in lines[index]
    assert "operator torchvision::nms does not exist" in lines[index]
    assert "reinstall both from one place in one command: pip install --force-reinstall" in lines[index + 1]
    assert any(line.startswith("fault    device:cuda:99") for line in lines)
    assert not any(" device:cpu " in line for line in lines)


def test_a_broken_pillow_beside_a_broken_torch(env_check):
    torch_too = "import sys; sys.modules['torch'] = None; raise ImportError('DLL load failed')"
    done = env_check("-f", "json", "--device", "cpu", broken=("PIL", torch_too))
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 7
    assert (checks["pillow"]["status"], checks["torch"]["status"]) == ("fault", "fault")
    assert "DLL load failed" in checks["pillow"]["detail"]
    assert not {"accelerators", "auto"} & set(checks)


def test_a_broken_numpy_is_blamed_for_torch(env_check):
    done = env_check("-f", "json", "--device", "cpu", broken=("numpy", "raise ImportError('multiarray')"))
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert (done.returncode, checks["numpy"]["status"]) == (7, "fault")
    assert checks["torch"]["advice"] == "mend numpy first"


def test_a_cache_that_can_not_be_written(env_check, tmp_path):
    (tmp_path / "file").touch()
    torch_is_broken = ("torch", "raise ImportError('not needed here')")
    done = env_check(broken=torch_is_broken, IMGCLS_CACHE=str(tmp_path / "file"))
    assert done.returncode == 7
    assert f"fault    cache          {tmp_path / 'file'}" in done.stdout
    assert "is a file, not a folder" in done.stdout


def test_output_goes_to_a_file(env_check, tmp_path):
    answer = tmp_path / "machine.json"
    done = env_check("-f", "json", "-o", str(answer), broken=("torch", "raise ImportError('x')"))
    assert (done.returncode, done.stdout) == (7, "")
    assert json.loads(answer.read_text(encoding="utf-8"))["schema"] == 1
    assert str(answer) in done.stderr
    quiet = env_check("-q", "-o", str(answer), broken=("torch", "raise ImportError('x')"))
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (7, "", "")
    assert answer.read_text(encoding="utf-8").startswith("ok       imgcls")


def test_an_unknown_device_is_wrong_usage(env_check):
    done = env_check("--device", "gpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown device 'gpu'" in done.stderr


def test_help_ends_with_an_example(env_check):
    done = env_check("--help")
    assert done.returncode == 0
    assert "Example: imgcls env-check" in done.stdout
