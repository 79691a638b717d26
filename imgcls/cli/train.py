"""`imgcls train`."""

EXAMPLE = ""


def train() -> None:
    """Not written yet."""
