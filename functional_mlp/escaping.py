"""Text that comes from files, shown as it is written: what steers a terminal is escaped."""

import re

# Control characters with those of 8 bits, the marks, embeddings, overrides and isolates of the direction of writing,
# the separators of lines and paragraphs, and halves of characters, which no terminal can be sent.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Text on one line that changes nothing on a terminal but the places it takes.

    >>> print(printable("\x1b[31mred\r\n"))
    \x1b[31mred\r\n
    """
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
