"""A table for people: an image's name, then its classes with their share."""

from imgcls.host.terminal_text import printable
from imgcls.outputs.formats.format import Layout, OutputFormat
from imgcls.outputs.record import ImageRecord, Prediction
from imgcls.outputs.summary import Summary

BAR_WIDTH = 20
# Labels of a set that are spelt out.
MAX_SET = 4


class TableEncoder:
    """Writes a block per image, or one line where one class is asked for."""

    def __init__(self, layout: Layout) -> None:
        self._top_k, self._inline = layout.top_k, layout.inline
        styles = ("\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m") if layout.colour else ("", "", "", "")
        self._bold, self._dim, self._red, self._off = styles

    def head(self) -> bytes:
        """Nothing comes before the first block."""
        return b""

    def encode(self, record: ImageRecord) -> bytes:
        """One image's block."""
        block = self._block(record)
        if self._inline is not None and record.thumbnail is not None:
            from imgcls.outputs.formats.inline_images import beside

            block = beside(record.thumbnail, block.splitlines(), self._inline)
        return block.encode("utf-8", "backslashreplace")

    def tail(self, summary: Summary) -> bytes:
        """Nothing comes after the last block."""
        return b""

    def _block(self, record: ImageRecord) -> str:
        name = printable(record.input)
        if record.frame is not None:
            name += f" [{record.frame + 1} of {record.frames}]"
        if record.error:
            reason = printable(f"{record.error.kind}: {record.error.message}")
            return f"{self._bold}{name}{self._off}  {self._red}{reason}{self._off}\n"
        remarks = "".join(f" ({word})" for word in ("uncertain", "truncated") if getattr(record, word))
        if record.set is not None:
            remarks += f" (one of {len(record.set)}: {', '.join(map(printable, record.set[:MAX_SET]))}" + (
                ", ...)" if len(record.set) > MAX_SET else ")"
            )
        if record.labels is not None and not record.labels:
            remarks += " (no label)"
        if self._top_k == 1:
            best = record.predictions[0]
            named = ", ".join(map(printable, record.labels or (best.label,)))
            return f"{best.probability:8.2%}  {named}{remarks}  {self._dim}{name}{self._off}\n"
        size = f"{record.width} x {record.height}  {printable(record.model.partition('@')[0])}"
        width = max(len(printable(p.label)) for p in record.predictions)
        lines = [self._line(p, width, is_label=record.labels and p.label in record.labels) for p in record.predictions]
        return f"{self._bold}{name}{self._off}  {self._dim}{size}{self._off}{remarks}\n" + "".join(lines)

    def _line(self, prediction: Prediction, width: int, *, is_label: object = None) -> str:
        """One class; a label of a multi-label image has a mark."""
        bar = "█" * round(prediction.probability * BAR_WIDTH)
        line = f"{'*' if is_label else ' '} {prediction.probability:8.2%}  {printable(prediction.label):<{width}}"
        line = f"{line}  {self._dim}{bar}"
        return line.rstrip() + self._off + "\n"


TABLE = OutputFormat("table", (), TableEncoder)
