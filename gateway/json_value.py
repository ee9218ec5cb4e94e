"""JSON of a client that is kept and answered: every client can read it, and every database can keep it.

Python's ``json`` reads more than that: NaN, which no other parser takes, and lone surrogates, which no encoding has.
"""

import json


def json_text(value: object) -> str:
    """``value`` as JSON in UTF-8 characters. Raises ``ValueError``, whose text is for the sender."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("has text that is not Unicode: a lone surrogate") from None
    except ValueError:
        raise ValueError("must not contain NaN or a number that is infinite") from None
    return text
