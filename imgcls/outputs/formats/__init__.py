"""One file per output format; this list is the only place that names them all."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgcls.outputs.formats.format import OutputFormat

_HOMES = {
    "table": "table.TABLE",
    "json": "json_document.JSON",
    "jsonl": "json_lines.JSONL",
    "csv": "csv_rows.CSV",
    "parquet": "parquet.PARQUET",
}


class _Formats(Mapping[str, "OutputFormat"]):
    """Formats by their names, each imported when it is asked for: a run writes one, and the help none."""

    def __getitem__(self, name: str) -> "OutputFormat":
        module, _, constant = _HOMES[name].partition(".")
        found: OutputFormat = getattr(import_module(f"{__name__}.{module}"), constant)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __contains__(self, name: object) -> bool:
        return name in _HOMES

    def __len__(self) -> int:
        return len(_HOMES)


FORMATS: Mapping[str, "OutputFormat"] = _Formats()
