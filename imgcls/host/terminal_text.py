"""Text for people: words that agree with their numbers, and names from strangers that never steer a terminal."""


def printable(text: str, *, keeps: str = "") -> str:
    """A text whose line feeds, escape sequences and direction marks a terminal shows instead of obeying.

    Args:
        text: anything.
        keeps: characters that stay as they are although they don't print, such as a line feed of our own.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keeps else _escape(ord(char)) for char in text)


def counted(count: int, noun: str, *, plural: str = "") -> str:
    """Such as `1 epoch`, `2 epochs`, `1,000 classes`.

    Args:
        count: how many.
        noun: for one.
        plural: for any other number, where an `s` doesn't make it.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _escape(code: int) -> str:
    if code < 1 << 8:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
