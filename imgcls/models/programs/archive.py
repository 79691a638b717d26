"""What a `.pt2` file says of itself, read as the ZIP archive that it is: nothing that is in it runs."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgcls.errors import ModelError
from imgcls.models.model_card import ModelCard

Kind = Literal["torch-export", "aoti"]
# A torch.export program keeps the card in this file: torch.export.load(path, extra_files={CARD_FILE: ""}) gives it.
CARD_FILE = "imgcls.json"
# An AOTInductor package keeps it under this key of its metadata: AOTIModelPackageLoader::get_metadata().
CARD_KEY = "imgcls"
METADATA_SUFFIX = "wrapper_metadata.json"
# A thousand class names take 20 KB.
MOST_CARD_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Archive:
    """A `.pt2` file of ours.

    Attributes:
        kind: what it holds.
        card: what it says of the model.
        metadata: an AOTInductor package's: for which machine it was compiled.
    """

    kind: Kind
    card: ModelCard
    metadata: dict[str, str]


def read_archive(path: Path) -> Archive:
    """Read a file's description.

    Raises:
        ModelError: no such file, damaged, or not of ours.
    """
    hint = "export the model again: imgcls export MODEL -o m.pt2"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            found = [name for name in names if name.endswith(METADATA_SUFFIX) and "/aotinductor/" in name]
            if found:
                metadata = json.loads(_read(archive, found[0]))
                text = metadata.pop(CARD_KEY, None)
            else:
                metadata = {}
                own = [name for name in names if name.endswith(f"/extra/{CARD_FILE}")]
                text = _read(archive, own[0]).decode() if own else None
    except FileNotFoundError as exc:
        raise ModelError(f"no such file: {path}", hint="check the path") from exc
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as exc:
        raise ModelError(f"{path} can't be read: {str(exc).partition(chr(10))[0]}", hint=hint) from exc
    if not isinstance(text, str) or not isinstance(metadata, dict):
        raise ModelError(f"{path} was not written by imgcls", hint=hint)
    told = {str(key): str(value) for key, value in metadata.items()}
    return Archive("aoti" if found else "torch-export", ModelCard.from_json(text, source=str(path)), told)


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MOST_CARD_BYTES:
        raise ValueError(f"its {name} is too large")
    return archive.read(name)
