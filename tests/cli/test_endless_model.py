"""An ONNX file may hold a loop without an end; whoever wants out gets out."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from onnx_files import some_pixels, write_endless
from PIL import Image

# Of the processor, after all is loaded: nothing but a loop without an end takes so much for one image of 8 x 8.
LOOPING_SEC = 0.7


def used_sec(pid: int) -> float:
    """Of the processor, by a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the processor's time from /proc")
@pytest.mark.parametrize(
    ("signals", "code"),
    [((signal.SIGINT, signal.SIGTERM), 143), ((signal.SIGTERM, signal.SIGTERM), 143)],
    ids=lambda value: str(value),
)
def test_a_second_signal_leaves_for_good(tmp_path: Path, signals: tuple[int, ...], code: int) -> None:
    write_endless(tmp_path / "m.onnx")
    Image.fromarray(some_pixels(1)[0]).save(tmp_path / "p.png")
    command = [sys.executable, "-m", "imgcls", "predict", "p.png", "-m", "m.onnx", "-o", "out.jsonl"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            while not any(tmp_path.glob("*.run.json")):
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.05)
            begun = used_sec(process.pid)
            while used_sec(process.pid) < begun + LOOPING_SEC:
                assert process.poll() is None
                time.sleep(0.05)
            for number in signals:
                process.send_signal(number)
                used = used_sec(process.pid)
                # The loop goes on, and in that time the first signal has been noted.
                while process.poll() is None and used_sec(process.pid) < used + LOOPING_SEC:
                    time.sleep(0.05)
            assert process.wait(timeout=60) == code
        finally:
            process.kill()


INTERRUPTED = """
import os, signal, sys, threading, time
import imgcls
classifier = imgcls.load_classifier("m.onnx")
begun = time.process_time()
def interrupt():
    while time.process_time() < begun + float(sys.argv[2]):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
try:
    classifier.predict("p.png") if sys.argv[1] == "one" else list(classifier.predict_many(["p.png"]))
except KeyboardInterrupt:
    print("interrupted")
# The loop is over: it takes no more of the processor.
begun = time.process_time()
time.sleep(0.5)
print(time.process_time() - begun < 0.25)
"""


@pytest.mark.skipif(os.name == "nt", reason="sends itself a signal")
@pytest.mark.parametrize("how", ["one", "many"])
def test_ctrl_c_ends_it_in_python_too(tmp_path: Path, how: str) -> None:
    write_endless(tmp_path / "m.onnx")
    Image.fromarray(some_pixels(1)[0]).save(tmp_path / "p.png")
    command = [sys.executable, "-c", INTERRUPTED, how, str(LOOPING_SEC)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert (run.stdout, run.returncode) == ("interrupted\nTrue\n", 0), run.stderr
