"""What a worker does: one block of inputs becomes one part, through the one `Predictor`."""

import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from imgcls.errors import DeviceError
from imgcls.host.versions import versions
from imgcls.images.inputs.selection import InputSelection
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.sources import expand_archive
from imgcls.inference.cluster.blocks import Block, is_archive
from imgcls.inference.cluster.model import PackedModel, unpack_model
from imgcls.inference.cluster.parts import PartFolder, digest_of, encode_part, part_name, read_part
from imgcls.inference.pipeline import StreamSettings, classify_stream
from imgcls.outputs.formats.format import Layout
from imgcls.outputs.formats.values import record_of, version_of
from imgcls.outputs.record import ImageRecord, KeptRecord, source_version
from imgcls.outputs.summary import Summary

# Versions that must be the same everywhere, or the records of one run would not be of one kind.
COMPARED = ("imgcls", "python", "torch", "torchvision", "pillow", "numpy")


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What all blocks of a run have in common.

    Attributes:
        settings: of the stream.
        layout: of the parts.
        format: of the parts.
        folder: where they go.
        selection: which members of archives are taken.
        resume: keep the records of a part that is there already.
        num_cpus: cores that a worker may use.
        versions: of the driver.
    """

    settings: StreamSettings
    layout: Layout
    format: str
    folder: PartFolder
    selection: InputSelection
    resume: bool
    num_cpus: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of a block.

    Attributes:
        name: of the part.
        num_rows: its records.
        sha256: of the part.
        summary: of its records.
        first_input: the name of the first.
        passed_over: what the walks through archives didn't take, by suffix.
    """

    name: str
    num_rows: int
    sha256: str
    summary: Summary
    first_input: str
    passed_over: dict[str, int] = field(default_factory=dict)


class BlockWorker:
    """Classifies blocks; Ray makes one in each worker process.

    Args:
        task: what all blocks have in common.
    """

    def __init__(self, task: WorkerTask) -> None:
        self._task = task
        self._lock = threading.Lock()
        self._num_done = self._num_failed = 0

    def prepare(self, packed: PackedModel) -> dict[str, Any]:
        """Load the model; says where this is and with what.

        Raises:
            DeviceError: versions differ from the driver's.
            ModelError: the model can't be loaded.
        """
        check_versions(self._task.versions, versions())
        # Pillow's own check sees images inside of images too; it refuses twice its limit.
        Image.MAX_IMAGE_PIXELS = -(-self._task.settings.max_pixels // 2)
        warnings.filterwarnings("ignore", module=r"PIL\.")
        self._use_cores()
        loaded = unpack_model(packed)
        self._backend = loaded.backend
        return {"device": loaded.device, "versions": versions(), "node": node_id()}

    def progress(self) -> tuple[int, int]:
        """Images of the block in hand so far, and how many of them failed."""
        with self._lock:
            return self._num_done, self._num_failed

    def classify(self, block: Block, *, batch_size: int) -> PartResult:
        """Classify a block, and write its part.

        Args:
            block: of inputs.
            batch_size: images that the network sees at once, at most.
        Raises:
            OutputError: the part can't be written.
        """
        self._use_cores()
        task = self._task
        name = part_name(block.id, task.format)
        rules = task.selection.rules()
        inputs: Iterable[Source | KeptRecord] = self._sources(block, rules)
        if task.resume:
            inputs = self._without_done(inputs, name)
        settings = replace(task.settings, batch_size=batch_size, num_threads=task.settings.num_threads or task.num_cpus)
        summary = Summary()
        records: list[ImageRecord] = []
        self._count(summary)
        for record in classify_stream(inputs, self._backend, settings):
            summary.add(record)
            self._count(summary)
            is_kept = isinstance(record, KeptRecord)
            records.append(replace(record_of(record.values), input=record.input) if is_kept else record)  # type: ignore
        content = encode_part(records, task.format, task.layout, summary)
        task.folder.write(name, content)
        first = records[0].input if records else ""
        with self._lock:
            self._num_done = self._num_failed = 0
        return PartResult(name, len(records), digest_of(content), summary, first, dict(rules.passed_over.suffixes))

    def _count(self, summary: Summary) -> None:
        with self._lock:
            self._num_done, self._num_failed = summary.count, summary.num_failed

    def _sources(self, block: Block, rules: Any) -> Iterator[Source]:
        selection = self._task.selection
        for source in block.sources:
            if is_archive(source):
                yield from expand_archive(
                    source, rules, storage=selection.storage, max_member_bytes=selection.max_stdin_bytes
                )
            else:
                yield source

    def _without_done(self, inputs: Iterable[Source | KeptRecord], name: str) -> Iterator[Source | KeptRecord]:
        """Put the record of an earlier run in the place of each input that has one which still holds."""
        content = self._task.folder.read(name)
        try:
            earlier = {each["input"]: each for each in read_part(content, name)} if content else {}
        except (ValueError, OSError, KeyError):
            # Torn or changed by somebody: made anew.
            earlier = {}
        for each in inputs:
            values = earlier.get(each.name) if isinstance(each, Source) else None
            if isinstance(each, Source) and values is not None and self._holds(each, values):
                yield KeptRecord(values["input"], 0, 0, False, False, values)
            else:
                yield each

    def _holds(self, source: Source, values: dict[str, Any]) -> bool:
        if values["status"] != "ok" or values.get("frames"):
            return False
        if values.get("settings") != self._task.layout.settings:
            return False
        # An object that a list names has no version without another request, and counts as unchanged.
        version = source_version(source)
        return version == version_of(values) if version is not None else bool(source.url) and version_of(values) is None

    def _use_cores(self) -> None:
        # Ray's threads come and go, and each has its own number.
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self._task.num_cpus)


def node_id() -> str:
    """Of the node that this worker is on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def check_versions(driver: dict[str, str], worker: dict[str, str]) -> None:
    """Refuse to mix versions.

    Raises:
        DeviceError: names the first that differs, and how to mend it.
    """
    for name in COMPARED:
        ours, theirs = (_compared(name, each.get(name, "none")) for each in (driver, worker))
        if ours != theirs:
            raise DeviceError(
                f"a worker has {name} {worker.get(name, 'none')}, this process {driver.get(name, 'none')}",
                hint="install the same on all nodes, or start with a runtime_env that does: ray job submit "
                '--runtime-env-json \'{"pip": ["imgcls", ...]}\' -- imgcls predict ...',
            )


def _compared(name: str, version: str) -> str:
    # A patch of Python's changes no answer; a local label (+cpu, +cu130) names a build of the same version.
    return ".".join(version.split(".")[:2]) if name == "python" else version.partition("+")[0]
