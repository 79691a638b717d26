"""The record of each input, and what keeps records: formats, logs that a later run continues, notes, reports."""
