"""A loop's state as `last.pt` holds it; its keys are those of the file format, which stays readable."""

from typing import Any

from imgcls.distributed.data_parallel import running_statistics
from imgcls.training.loop import Loop
from imgcls.training.position import Position

# More images than anybody has, in all epochs.
MAX_COUNT = 2**53


def loop_state(loop: Loop) -> dict[str, Any]:
    """All that the next step depends on, beside the recipe and the images: tensors and plain values.

    Within an epoch each process has something of its own, which is under `processes` in the order of the ranks.
    """
    state: dict[str, Any] = {
        "position": vars(loop.position).copy(),
        "phase": loop.phase_setup.number,
        "network": loop.network.state_dict(),
        "optimisers": loop.optimisers.state_dict(),
        "scaler": loop.phase_setup.scaler.state_dict() if loop.phase_setup.scaler else {},
        "streams": loop.inputs.state_dict() if loop.position.batch else {},
    }
    if loop.ema:
        state["average"] = {"weights": loop.ema.network.state_dict(), "num_updates": loop.ema.num_updates}
    if loop.position.batch and loop.processes.count > 1:
        position = loop.position
        own = {"streams": state["streams"], "loss_total": position.loss_total, "loss_count": position.loss_count}
        own["correct"] = position.correct
        own["statistics"] = [value.cpu() for value in running_statistics(loop.networks)]
        state["processes"] = loop.processes.gather(own)
        for key in ("loss_total", "loss_count", "correct"):
            state["position"][key] = sum(each[key] for each in state["processes"])
    return state


def restore_loop(loop: Loop, state: dict[str, Any]) -> None:
    """Take up what `loop_state` returned for a loop with the same recipe and images.

    With as many processes as before all goes on exactly; with another number only their own generators and batch
    norms, and the last digits, are others.

    Raises:
        Exception: whatever comes of values that `loop_state` never returned, or for another loop.
    """
    loop.position = checked_position(state["position"])
    phase = state["phase"]
    if type(phase) is not int or phase not in range(len(loop.phase_setup.phases)):
        raise ValueError(f"there is no phase {phase!r}")
    # Between two phases the optimisers are still those of the earlier one.
    loop.phase_setup.enter(phase)
    loop.network.load_state_dict(state["network"])
    loop.optimisers.load_state_dict(state["optimisers"])
    if loop.phase_setup.scaler:
        loop.phase_setup.scaler.load_state_dict(state["scaler"])
    if loop.ema:
        loop.ema.network.load_state_dict(state["average"]["weights"])
        loop.ema.num_updates = int(state["average"]["num_updates"])
    streams, each = state["streams"], state.get("processes", ())
    if len(each) == loop.processes.count:
        own = each[loop.processes.rank]
        streams = own["streams"]
        loop.position.loss_total, loop.position.loss_count = own["loss_total"], own["loss_count"]
        loop.position.correct = own.get("correct", 0)
        for value, saved in zip(running_statistics(loop.networks), own["statistics"], strict=True):
            value.copy_(saved)
    elif not loop.processes.is_first:
        streams = {key: value for key, value in streams.items() if key != "global"}
        loop.position.loss_total, loop.position.loss_count, loop.position.correct = 0.0, 0, 0
    loop.inputs.load_state_dict(streams)


def checked_position(values: dict[str, Any]) -> Position:
    """A position from plain values.

    Raises:
        TypeError, ValueError: they are none.
    """
    position = Position(**values)
    for name, default in vars(Position()).items():
        value = getattr(position, name)
        if type(value) not in (int, type(default)) or not 0 <= value < MAX_COUNT:
            raise ValueError(f"its {name} is {value!r}")
    return position
