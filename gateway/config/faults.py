"""What is wrong with a value, as text that needs no knowledge of the library that found it.

The text follows the name of the value: ``FRAME_RATE: `` ``must be greater than 0``. It contains no value: that may be a
secret. Settings, HTTP bodies and Socket.IO events use the same texts.
"""

from collections.abc import Mapping
from typing import Any

TEXTS: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "does not exist",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "string_unicode": "has text that is not Unicode: a lone surrogate",
    "bytes_type": "must be bytes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have a length of at least {min_length}",
    "too_long": "must have a length of at most {max_length}",
    "string_pattern_mismatch": "must match {pattern}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "json_invalid": "is not JSON",
    "path_type": "must be text: a path",
    "ip_any_network": "must be an IP address, or a network as in 192.0.2.0/24",
    "none_required": "must be null",
}
"""By the type of pydantic's error; the braces are its context."""


def describe(item: Mapping[str, Any]) -> str:
    """The text for one item of ``ValidationError.errors()``."""
    kind, context = item["type"], item.get("ctx", {})
    if kind == "value_error":
        # A validator of ours: its text is for the reader already.
        return str(context.get("error", "")) or str(item["msg"]).removeprefix("Value error, ")
    if kind in ("too_short", "too_long") and context.get("field_type") == "Value":
        kind = f"string_{kind}"  # a secret
    if kind == "string_too_short" and context.get("min_length") == 1:
        return "must not be empty"
    # Limits of numbers with a fraction are written as whole numbers where they are.
    context = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in context.items()
    }
    text = TEXTS.get(kind)
    if text is not None:
        try:
            return text.format_map(context)
        except KeyError:
            pass
    message = str(item["msg"])
    return message[:1].lower() + message[1:]
