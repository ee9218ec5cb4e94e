"""Names and texts of others on one line, in any language."""

JOINERS = frozenset("\u200c\u200d")
"""Some words and pictograms are not written without these (Unicode 16.0 §23.2). They have no width and no direction."""


def is_printable(text: str) -> bool:
    """Whether a text can be shown on one line, in the order of its characters: no control characters, none that
    change the direction of text (Unicode Standard Annex #9)."""
    return text.isprintable() or all(each.isprintable() or each in JOINERS for each in text)


def printable(text: str) -> str:
    r"""A text of others with what cannot be shown as an escape, such as ``\n`` or ``\u202e``."""
    return "".join(each if is_printable(each) else each.encode("unicode_escape").decode() for each in text)
