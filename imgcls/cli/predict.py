"""`imgcls predict`."""

EXAMPLE = ""


def predict() -> None:
    """Not written yet."""
