"""Request bodies, as ``comms.shapes`` derives them from views."""

from comms.shapes import (
    BATCH,
    LONG,
    LONG_TEXT,
    MANY,
    SHORT_TEXT,
    Limits,
    change_shape,
    column_of,
    create_shape,
    given,
    is_read_only,
    limits_of,
    msgspec_camel,
    plain,
    read,
    writable,
)

__all__ = [
    "BATCH",
    "LONG",
    "LONG_TEXT",
    "MANY",
    "SHORT_TEXT",
    "Limits",
    "change_shape",
    "column_of",
    "create_shape",
    "given",
    "is_read_only",
    "limits_of",
    "msgspec_camel",
    "plain",
    "read",
    "writable",
]
