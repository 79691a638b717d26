"""Ray itself: started or joined, kept quiet, left again."""

import atexit
import contextlib
import importlib.util
import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from imgcls.errors import DeviceError, UsageError
from imgcls.host.resources import available_cores

# Cores of a worker where nobody says: enough to decode beside the network, few enough that every node fits some.
MOST_CPUS = 4
# For an address to answer at all.
KNOCK_LIMIT_SEC = 10.0
LEAST_STORE_BYTES = 256 * 2**20


class HeadLostError(DeviceError):
    """The cluster's head doesn't answer any more."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many workers there are, and how large each is.

    Attributes:
        least: workers to wait for.
        most: workers; None for as many as fit.
        num_cpus: cores of a worker.
        num_gpus: GPUs of a worker, which may be a fraction.
    """

    least: int
    most: int | None
    num_cpus: int
    num_gpus: float


def require_ray() -> None:
    """Say how to get Ray where it is missing; doesn't import it.

    Raises:
        UsageError: it isn't installed.
    """
    for package in ("ray", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"--ray needs {package}, which is not installed", hint="pip install 'imgcls[ray]'")


@contextlib.contextmanager
def ray_session(address: str, *, is_verbose: bool, store_bytes: int) -> Iterator[Any]:
    """Ray, joined or started for the time of the block; nothing of it is left behind.

    Args:
        address: `local` starts one on this machine, `auto` joins the one that runs here; or `HOST:PORT`,
            `ray://HOST:PORT`.
        is_verbose: whether Ray's own messages and those of the workers go to stderr.
        store_bytes: that objects will take at least.
    Yields:
        The module `ray`.
    Raises:
        DeviceError: there is no such cluster, or it is of another version.
    """
    # Statistics are sent only where somebody asked for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    told: dict[str, Any] = {"log_to_driver": is_verbose, "namespace": "imgcls"}
    told["logging_level"] = logging.INFO if is_verbose else logging.CRITICAL
    if address == "local":
        # Ray makes its workers nice, so that other programs of the machine would come first, as with no other command.
        os.environ.setdefault("RAY_worker_niceness", "0")
        told |= {
            "address": "local",
            "num_cpus": available_cores(),
            "include_dashboard": False,
            "object_store_memory": max(LEAST_STORE_BYTES, 2 * store_bytes),
        }
    else:
        told["address"] = address
    try:
        _join(ray, told, address)
        if not is_verbose:
            for name in ("ray", "ray.data"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        yield ray
    except HeadLostError:
        # Nobody is left to say goodbye to, and Ray would wait for an answer until it ends the process itself.
        atexit.unregister(ray.shutdown)
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()


def _join(ray: Any, told: dict[str, Any], address: str) -> None:
    try:
        _knock(address)
        ray.init(**told)
    except Exception as exc:
        # Ray raises what it likes, such as a bare Exception where the machine is too busy to start it in time.
        reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        if "ersion mismatch" in str(exc):
            raise DeviceError(
                f"the cluster at {address} has other versions: {' '.join(str(exc).split())[:300]}",
                hint="install the versions of Ray and Python that the cluster has",
            ) from exc
        if address == "local":
            raise DeviceError(f"Ray can't start here: {reason}", hint="try again; -v shows Ray's own messages") from exc
        raise DeviceError(
            f"no Ray cluster at {address}: {reason}",
            hint="start one with 'ray start --head', check the address, or use --ray local",
        ) from exc


def _knock(address: str) -> None:
    """Find out at once whether anybody listens; Ray would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_LIMIT_SEC).close()


def fit_shape(ray: Any, *, least: int, most: int | None, num_cpus: int | None, num_gpus: float | None) -> Shape:
    """How large a worker is, on what the cluster has now.

    Args:
        ray: the module, after `ray_session`.
        least: workers.
        most: workers; None for as many as fit.
        num_cpus: of a worker; None for a share of the smallest node.
        num_gpus: of a worker; None for one where the cluster has any.
    Raises:
        DeviceError: no node is large enough for one.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = [node.get("GPU", 0) for node in nodes]
    if num_gpus is None:
        num_gpus = 1.0 if any(count >= 1 for count in gpus) else 0.0
    if num_cpus is None:
        if num_gpus:
            # All cores of a node decode for its GPUs.
            shares = [int(c * num_gpus // g) for c, g in zip(cpus, gpus, strict=True) if g >= num_gpus and c]
            num_cpus = max(min(shares, default=1), 1)
        else:
            num_cpus = max(min([MOST_CPUS, *(count for count in cpus if count)]), 1)
    if not any(c >= num_cpus and g >= num_gpus for c, g in zip(cpus, gpus, strict=True)):
        needs = f"{num_cpus} cores" + (f" and {num_gpus:g} GPUs" if num_gpus else "")
        raise DeviceError(
            f"no node of the cluster has {needs}; the largest has {max(cpus, default=0)} cores",
            hint="--num-cpus 1, or --num-gpus 0",
        )
    return Shape(least, most, num_cpus, num_gpus)
