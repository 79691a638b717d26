"""JSON: one object, `schema`, `model`, `results`, `summary`."""

import json

from imgcls.outputs.formats.format import Layout, OutputFormat
from imgcls.outputs.record import ImageRecord
from imgcls.outputs.summary import Summary

SCHEMA = 1


class JsonEncoder:
    """Writes the object piece by piece, an element of `results` per record."""

    def __init__(self, layout: Layout) -> None:
        self._model = layout.model
        self._separator = "\n"

    def head(self) -> bytes:
        """The object up to the list of results."""
        head = json.dumps({"schema": SCHEMA, "model": self._model}, ensure_ascii=False, allow_nan=False)
        return (head[:-1] + ', "results": [').encode("utf-8", "backslashreplace")

    def encode(self, record: ImageRecord) -> bytes:
        """One element of `results`."""
        text = self._separator + json.dumps(record.to_dict(), ensure_ascii=False, allow_nan=False)
        self._separator = ",\n"
        # A lone surrogate becomes its JSON escape.
        return text.encode("utf-8", "backslashreplace")

    def tail(self, summary: Summary) -> bytes:
        """The end of the list, and the counts."""
        return ('\n], "summary": ' + json.dumps(summary.to_dict()) + "}\n").encode("ascii")


JSON = OutputFormat("json", (".json",), JsonEncoder)
