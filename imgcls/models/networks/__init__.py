"""The networks that are written here."""
