"""`imgcls evaluate`."""

EXAMPLE = ""


def evaluate() -> None:
    """Not written yet."""
