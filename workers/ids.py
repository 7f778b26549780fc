"""What avatars and models may be called, and how one is known that is none."""

import re

NULL_MARKER = "null-model.txt"  #: a file in the directory of `workers.null_model`

_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_plain_id(text: str) -> bool:
    """Letters, digits, dots, dashes and underscores, at most 64: safe in paths and on terminals."""
    return _PLAIN_ID.fullmatch(text) is not None
