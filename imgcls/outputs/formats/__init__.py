"""One file a format of records."""
