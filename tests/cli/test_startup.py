"""The quick end of a process: nothing that must happen at an end is left out."""

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, sys, threading
from imgcls.cli.process import startup
if {begins}:
    startup.begin()
import {module}
atexit.register(print, "exit function")
class TakenApart:
    def __del__(self):
        print("taken apart")
held = TakenApart()
def work():
    {works}
    print("thread")
threading.Thread(target=work).start()
print("x" * 200_000)
startup.leave(5, waits={waits})
"""
# Over as soon as the interpreter has begun to wait for its threads.
UNTIL_THE_END, ENDLESS = "threading.main_thread().join()", "threading.Event().wait()"


def end(module: str, *, begins: bool = True, works: str = UNTIL_THE_END, waits: bool = True) -> list[str]:
    """What a process prints to its end with code 5."""
    script = SCRIPT.format(module=module, begins=begins, works=works, waits=waits)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (5, "")
    return ended.stdout.splitlines()


@pytest.mark.parametrize("module", ["json", "torch"])
def test_threads_exit_functions_and_buffers_come_to_their_end(module):
    assert end(module) == ["x" * 200_000, "thread", "exit function"]


@pytest.mark.parametrize("begins", [True, False])
def test_whoever_does_not_wait_leaves_a_thread_that_never_ends(begins):
    assert end("json", begins=begins, works=ENDLESS, waits=False) == ["x" * 200_000, "exit function"]


def test_a_process_that_others_have_begun_ends_as_ever():
    assert end("json", begins=False) == ["x" * 200_000, "thread", "exit function", "taken apart"]


def test_an_exception_keeps_its_traceback_and_its_code():
    script = "from imgcls.cli.process import startup\nstartup.begin()\nraise OSError('why')"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.endswith("OSError: why\n")
