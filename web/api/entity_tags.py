"""Lists of entity tags in If-Match and If-None-Match (RFC 9110 §8.8.3, §13.1). Without I/O."""

import re
from collections.abc import Sequence

_NEXT = re.compile(r'\s*(?:(W/)?"([\x21\x23-\x7e\x80-\uffff]*)"\s*(?:,|$)|,)')
"""The next element of a list; elements may be empty (§5.6.1)."""


def is_listed(fields: Sequence[str], tag: str, *, is_weak_allowed: bool) -> bool:
    """Whether ``tag``, without quotes, is in the list, or the list is ``*``.

    ``fields`` are the values of all fields of that name, which are one list (§5.3). A list is read up to its first
    error. Weak tags equal no tag in a strong comparison (§8.8.3.2).
    """
    listed, at = ",".join(fields), 0
    if listed.strip(" \t,") == "*":
        return True
    while at < len(listed) and (match := _NEXT.match(listed, at)) is not None:
        if match[2] == tag and (is_weak_allowed or match[1] is None):
            return True
        at = match.end()
    return False
