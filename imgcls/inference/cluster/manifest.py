"""What a run on a cluster leaves beside its parts: the manifest, with the parts in the order of the inputs."""

import socket
from datetime import UTC, datetime
from typing import Any

from imgcls.inference.cluster.destination import PartsDestination
from imgcls.inference.cluster.parts import SCHEMA
from imgcls.inference.cluster.pool import WorkerPool
from imgcls.inference.cluster.worker import PartResult
from imgcls.outputs.formats.format import Layout
from imgcls.outputs.origin import Origin
from imgcls.outputs.summary import Summary


def parts_layout(origin: Origin) -> Layout:
    """How each part is laid out, and what it says of its run."""
    return Layout(
        origin.model,
        origin.top_k,
        settings=origin.digest,
        classes=origin.classes,
        is_resumable=True,
        facts={
            "model": origin.model,
            "settings": origin.digest,
            "options": origin.options,
            "versions": origin.versions,
        },
    )


def _id_of(name: str) -> str:
    return name.partition("-")[2].rpartition(".")[0]


def in_order(parts: dict[str, PartResult], order: list[str]) -> list[PartResult]:
    """Parts in the order of the inputs.

    Args:
        parts: by name.
        order: the ids of the blocks.
    """
    position = {each: number for number, each in enumerate(order)}
    return sorted(parts.values(), key=lambda part: position[_id_of(part.name)])


def manifest_of(
    started: datetime,
    origin: Origin,
    destination: PartsDestination,
    pool: WorkerPool,
    summary: Summary,
    parts: list[PartResult],
) -> dict[str, Any]:
    """The manifest of a run that is finished.

    Args:
        started: when the run began.
        origin: what the records come from.
        destination: of the parts.
        pool: that classified.
        summary: of all records.
        parts: in the order of the inputs.
    """
    return {
        "schema": SCHEMA,
        "status": "finished",
        "format": destination.format,
        "host": socket.gethostname(),
        "started": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model": origin.model,
        "settings": origin.digest,
        "options": origin.options,
        "devices": pool.devices,
        "versions": origin.versions,
        "worker_versions": pool.versions,
        "workers_lost": pool.status.num_lost,
        "counts": summary.to_dict() | {"kept": summary.num_kept},
        "mean_confidence": None if summary.mean_confidence is None else round(summary.mean_confidence, 6),
        "classes": dict(summary.labels.most_common()),
        "parts": [
            {
                "name": part.name,
                "rows": part.num_rows,
                "failed": part.summary.num_failed,
                "sha256": part.sha256,
                "first_input": part.first_input,
            }
            for part in parts
        ],
    }
