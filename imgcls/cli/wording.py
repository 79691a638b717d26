"""Words that agree with their numbers."""


def counted(count: int, noun: str, *, plural: str = "") -> str:
    """Such as `1 epoch`, `2 epochs`, `1,000 classes`.

    Args:
        count: how many.
        noun: for one.
        plural: for any other number, where an `s` doesn't make it.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
