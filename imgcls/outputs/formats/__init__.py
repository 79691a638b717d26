"""One file per output format; this list is the only place that names them all."""

from imgcls.outputs.formats.csv_rows import CSV
from imgcls.outputs.formats.format import OutputFormat
from imgcls.outputs.formats.json_document import JSON
from imgcls.outputs.formats.json_lines import JSONL
from imgcls.outputs.formats.parquet import PARQUET
from imgcls.outputs.formats.table import TABLE

FORMATS: dict[str, OutputFormat] = {each.name: each for each in (TABLE, JSON, JSONL, CSV, PARQUET)}
