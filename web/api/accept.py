"""Accept: which media types a client takes (RFC 9110 §12.5.1). Without I/O."""

import re
from collections.abc import Sequence

_RANGE = re.compile(r'\s*([^\s;,"]+)((?:\s*;(?:[^,"]|"(?:[^"\\]|\\.)*")*)?)\s*(?:,|$)|[^,]*,?')
"""The next media range with its parameters. What is none is skipped."""

_NEVER = re.compile(r";\s*q\s*=\s*0(?:\.0{0,3})?\s*(?:;|$)", re.IGNORECASE)


class Accept:
    """The media ranges of all Accept fields of a request. Their order and weights do not matter, except for zero."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._ranges: dict[str, bool] = {}
        text, at = ",".join(fields), 0
        while at < len(text):
            match = _RANGE.match(text, at)
            assert match is not None
            at = max(match.end(), at + 1)
            if match[1] is not None:
                name = match[1].lower()
                self._ranges[name] = self._ranges.get(name, False) or _NEVER.search(match[2]) is None

    def allows(self, media_type: str) -> bool:
        """Whether an answer of this type may be sent. The most specific range counts; without any, all may."""
        kind = media_type.partition("/")[0]
        for name in (media_type, f"{kind}/*", "*/*"):
            if name in self._ranges:
                return self._ranges[name]
        return not self._ranges

    def names(self, media_type: str) -> bool:
        """Whether this very type is wanted."""
        return self._ranges.get(media_type, False)
