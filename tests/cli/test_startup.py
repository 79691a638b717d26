"""The quick end of a process: nothing that must happen at an end is left out."""

import subprocess
import sys

SCRIPT = """
import atexit, threading
import {module}
from imgcls.cli.process import startup
atexit.register(print, "exit function")
def work():
    # Over as soon as the interpreter has begun to wait for its threads.
    threading.main_thread().join()
    print("thread")
threading.Thread(target=work).start()
print("x" * 200_000)
startup.leave(5)
print("went on")
"""


def run(module: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(module=module)], capture_output=True, text=True, check=False
    )


def test_threads_exit_functions_and_buffers_come_to_their_end():
    ended = run("torch")
    assert (ended.returncode, ended.stderr) == (5, "")
    assert ended.stdout.splitlines() == ["x" * 200_000, "thread", "exit function"]


def test_whoever_does_not_wait_leaves_a_thread_that_never_ends():
    script = SCRIPT.format(module="json").replace("leave(5)", "leave(5, waits=False)")
    endless = script.replace("threading.main_thread().join()", "threading.Event().wait()")
    ended = subprocess.run([sys.executable, "-c", endless], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (5, "")
    assert ended.stdout.splitlines() == ["x" * 200_000, "exit function"]


def test_without_torch_the_interpreter_ends_as_ever():
    ended = run("json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.splitlines()) == sorted(["x" * 200_000, "went on", "thread", "exit function"])
