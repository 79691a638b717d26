"""Text from strangers (names of files, labels, keys, servers' words) on its way to a terminal."""


def printable(text: str, *, keeps: str = "") -> str:
    """A text whose line feeds, escape sequences and direction marks a terminal shows instead of obeying.

    Args:
        text: anything.
        keeps: characters that stay as they are although they don't print, such as a line feed of our own.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keeps else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    if code < 1 << 8:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
