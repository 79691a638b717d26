"""Where the parts of a run on a cluster go."""

from dataclasses import dataclass
from pathlib import Path

from imgcls.errors import OutputError, UsageError
from imgcls.inference.cluster.parts import MANIFEST, PART_FORMATS, PartFolder, is_part


@dataclass(frozen=True, slots=True)
class PartsDestination:
    """Where parts go, and what may be there already.

    Attributes:
        folder: of the parts.
        format: `parquet` or `jsonl`.
        resume: keep what is there.
        overwrite: replace it.
    """

    folder: PartFolder
    format: str = "parquet"
    resume: bool = False
    overwrite: bool = False

    def check(self) -> None:
        """Refuse what can't be meant, before any work.

        Raises:
            UsageError: options that contradict each other, or another format.
            OutputError: an output is there, and nobody said what to do with it; or it is no folder.
        """
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite exclude each other", hint="use one of them")
        if self.format not in PART_FORMATS:
            raise UsageError(
                f"--ray writes parts in parquet or jsonl, not {self.format}",
                hint="leave out -f, then: imgcls collect OUT -o all.csv",
            )
        if not self.folder.is_remote and Path(self.folder.place).is_file():
            raise OutputError(f"{self.folder.shown} is a file", hint="--ray writes a folder: name one with --output")
        names = self.folder.names()
        if (any(map(is_part, names)) or MANIFEST in names) and not (self.resume or self.overwrite):
            raise OutputError(
                f"{self.folder.shown} holds a run already", hint="--resume continues it, --overwrite replaces it"
            )
