"""Text that comes from files, shown as it is written: what steers a terminal, and what cannot be seen, is escaped."""

import re
import unicodedata

# What may have to be escaped; all else is looked at no further.
_SUSPECTS = re.compile(r"[^ -~]")
# Control and format characters, the separators of lines and paragraphs, and halves of characters, which no terminal can
# be sent.
_UNPRINTABLE = frozenset(("Cc", "Cf", "Zl", "Zp", "Cs"))
# Characters of other categories that are drawn as nothing, or as a space.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\U000e0100-\U000e0fff]"
    # Those that choose the form of a symbol, where none is before them.
    "|(?<![\u2000-\U0010ffff])[\ufe00-\ufe0f]"
)


def printable(text: str) -> str:
    r"""Text on one line that changes nothing on a terminal but the places it takes, and hides nothing.

    >>> print(printable("\x1b[31mred\r\n"), printable("no\u200bthing"))
    \x1b[31mred\r\n no\u200bthing
    """
    return _INVISIBLE.sub(_escaped, _SUSPECTS.sub(_escaped_where_unprintable, text))


def _escaped_where_unprintable(match: re.Match[str]) -> str:
    return _escaped(match) if unicodedata.category(match[0]) in _UNPRINTABLE else match[0]


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
