"""Header values as they came: the client writes numbers and times with less than it read.

It reads a double and writes a single: a publisher's 0.1 would come back from a delay queue as 0.10000000149, and 1e300
could not be sent at all. It reads a time in milliseconds, and writes whole seconds, which past the year 2106 it would
read as milliseconds of 1970. So what goes into a header table is written here, for the whole process.
"""

from collections.abc import Callable
from datetime import datetime
from struct import Struct

from pamqp import encode

_MILLISECONDS_FROM = 2**32
"""From this number on the client takes a time for milliseconds."""
_UNSIGNED = Struct(">Q")

_as_the_library = encode.encode_table_value


def write_exactly() -> None:
    """Have the client write header values as it reads them, from now on."""
    encode.encode_table_value = _exactly


def _exactly(value: object) -> bytes:
    if isinstance(value, float):
        return b"d" + encode.double(value)
    if isinstance(value, datetime):
        seconds = value.timestamp()
        if seconds >= _MILLISECONDS_FROM or value.microsecond:
            milliseconds = round(seconds * 1000)
            if milliseconds >= _MILLISECONDS_FROM:
                return b"T" + _UNSIGNED.pack(milliseconds)
    write: Callable[[object], bytes] = _as_the_library  # type: ignore[assignment] # it raises TypeError for the rest
    return write(value)
