"""`imgcls env_check`."""

EXAMPLE = ""


def env_check() -> None:
    """Not written yet."""
