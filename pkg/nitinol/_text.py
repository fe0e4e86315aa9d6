"""How values from outside, which may be of any length, are written in error sentences."""

from typing import Any


def shown(value: Any) -> str:
    """The repr of a value on one line, in 80 characters at the most."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no integers of more than 4300 digits
        return f"(a {type(value).__name__} too long to be written)"
    return text if len(text) <= 80 else text[:77] + "..."
