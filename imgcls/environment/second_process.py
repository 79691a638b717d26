"""Starting the probing process, reading what it reports, and saying why it stopped short."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from imgcls.environment.accelerators import TorchAccelerators
from imgcls.environment.report import Check, Status

# The search path is handed over as it is, so that both processes import the same packages.
CODE = """
import sys
request, sys.path[:] = sys.argv[1], sys.argv[2:]
from imgcls.environment.probing_process import main
main(request)
"""
# After it was killed, a process that hangs in a driver may still not end; this is how long its end is waited for.
AFTER_KILL_SEC = 5


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """What the probing process told.

    Attributes:
        checks: those that ended, in order.
        accelerators: what torch sees; None where it came not so far.
        stopped_at: the step in which the process crashed or was given up; empty where it ended well.
        reason: why, in words.
    """

    checks: tuple[Check, ...]
    accelerators: TorchAccelerators | None = None
    stopped_at: str = ""
    reason: str = ""


@contextlib.contextmanager
def probing(request: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start the probing process; end it, should it still run when the block is left."""
    command = [sys.executable, "-c", CODE, request, *sys.path]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(AFTER_KILL_SEC)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def read_outcome(process: subprocess.Popen[bytes], *, time_limit_sec: float) -> ProbeOutcome:
    """Wait for the probing process and read its report, whole or not.

    Args:
        process: from `probing`.
        time_limit_sec: after that it is killed, and what it told until then counts.
    """
    hung = ""
    try:
        told, said = process.communicate(timeout=time_limit_sec)
    except subprocess.TimeoutExpired:
        hung = f"did not end within {time_limit_sec:g} s"
        process.kill()
        try:
            told, said = process.communicate(timeout=AFTER_KILL_SEC)
        except subprocess.TimeoutExpired as exc:
            told, said = exc.stdout or b"", exc.stderr or b""
    return parse_outcome(told, said, returncode=process.returncode, hung=hung)


def parse_outcome(told: bytes, said: bytes, *, returncode: int | None, hung: str = "") -> ProbeOutcome:
    """Read the report's lines.

    Args:
        told: the process's stdout; the last line may be torn.
        said: its stderr.
        returncode: how it ended.
        hung: why it was given up; empty where it ended by itself.
    """
    checks: list[Check] = []
    accelerators: TorchAccelerators | None = None
    step = ""
    for line in told.splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            break
        if "begin" in values:
            step = values["begin"]
            continue
        step = ""
        if "check" in values:
            checks.append(Check.from_dict(values["check"]))
        else:
            accelerators = TorchAccelerators(**values["accelerators"])
    if returncode == 0 and not hung:
        return ProbeOutcome(tuple(checks), accelerators)
    lines = said.decode(errors="replace").strip().splitlines()
    reason = hung or _how_it_ended(returncode)
    if lines:
        reason += f"; its last words: {lines[-1].strip()}"
    return ProbeOutcome(tuple(checks), accelerators, step or "start", reason)


def _how_it_ended(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        try:
            return f"crashed with {signal.Signals(-returncode).name}"
        except ValueError:
            return f"was ended by signal {-returncode}"
    # Windows reports a crash as a large number that is only recognisable in hexadecimal.
    return f"crashed with exit code {returncode if returncode is None or returncode < 256 else hex(returncode)}"


def stopped_check(name: str, outcome: ProbeOutcome) -> Check:
    """The fault of the step in which the probing process ended."""
    advice = "pip install --force-reinstall torch torchvision"
    if name == "accelerators" or name.startswith("device:") or name == "auto":
        advice = "repair or update the driver; until then use the CPU: --device cpu (imgcls env-check --device cpu)"
    return Check(name, Status.FAULT, f"the probing process {outcome.reason}", advice)
