"""What torchrun told this process: which of how many it is.

Light, so that a command may ask before it loads anything.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

# All five, as torchrun sets them; a cluster's own RANK or WORLD_SIZE alone means nothing.
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Launch:
    """This process's place among those that were started together.

    Attributes:
        rank: among all, counted from 0; the first one speaks and writes.
        count: of all.
        local_rank: among those on this machine.
        local_count: of those on this machine.
        restarts: how often torchrun has started them all again.
        max_restarts: how often it will.
        name: of this call of torchrun, the same after a restart.
        by_torchrun: whether torchrun's own store, which outlives the processes, can be asked.
    """

    rank: int
    count: int
    local_rank: int
    local_count: int
    restarts: int = 0
    max_restarts: int = 0
    name: str = ""
    by_torchrun: bool = False


def read_launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """The launch that this process belongs to; None where nobody launched several, or the variables make no sense."""
    try:
        rank, local_rank, count = (int(environment[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
        local_count = int(environment.get("LOCAL_WORLD_SIZE", local_rank + 1))
        restarts = int(environment.get("TORCHELASTIC_RESTART_COUNT", 0))
        max_restarts = int(environment.get("TORCHELASTIC_MAX_RESTARTS", 0))
    except (KeyError, ValueError):
        return None
    if any(not environment.get(name) for name in VARIABLES) or not 0 <= rank < count:
        return None
    # Importing it takes a few milliseconds, which every command would pay.
    import socket

    # torchrun calls every run "none" unless told otherwise; then its process tells two calls apart.
    name = environment.get("TORCHELASTIC_RUN_ID", "none")
    return Launch(
        rank=rank,
        count=count,
        local_rank=local_rank,
        local_count=local_count,
        restarts=restarts,
        max_restarts=max_restarts,
        name=f"{socket.gethostname()}-{os.getppid()}" if name == "none" else name,
        by_torchrun=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )
