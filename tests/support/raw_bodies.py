"""Bodies the fuzz targets are given: valid ones, valid ones spoilt in a few places, and noise."""

import json

from hypothesis import strategies as st

from tests.support.strategies import arbitrary_bodies, valid_bodies
from worker.domain.shipment import shipment_id_for

SHIPMENT_ID = shipment_id_for("A-1")
ORDERS = (
    b'{"order_id": "A-1", "destination": "Oslo"}',
    b'{"order_id":"A-1","destination":"\\u00d8ster All\\u00e9 1","lines":[{"sku":"x","n":1e3}],"note":null}',
    '{"destination": "Åsgård 漢字 🚚", "order_id": "Ø-1", "gift": true}'.encode(),
    b'{"order_id": "' + b"A" * 200 + b'", "destination": "' + b"O" * 1000 + b'"}',
)
NOTICES = (
    b'{"order_id": "A-1", "delivered_at": "2026-03-01T14:05:00+01:00"}',
    b'{"order_id": "A-1", "delivered_at": "2026-03-01 12:00:00.123456789Z", "signed_by": "Ola"}',
    json.dumps({"shipment_id": SHIPMENT_ID.upper(), "delivered_at": 1_772_366_400_000}).encode(),
    json.dumps({"shipment_id": SHIPMENT_ID, "order_id": "A-1", "delivered_at": "20260301T1205Z"}).encode(),
)
_TELLING = (
    *(b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\\n", b"\x7f"),
    *(b"\xc2\x80", b"\xc2\x85", b"\xc2\x9f", b"\xc2\xa0", b"\\u009f", b"\\u0085", b"\x1f", b"\xf4\x8f\xbf\xbf"),
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b" ", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0"),
    *(b"9" * 30, b"9" * 5000, b"[" * 1500, b'{"a":' * 1500, b'"order_id":', b'"order_id": "B",', b"A" * 1100),
    *(b"9999-12-31T23:59:59", b"0001-01-01", b"+23:59", b"-00:00", b"T24:00", b"\xe2\x80\x8b", b"\xe2\x80\xa8"),
)
# Composite strategies throughout: each is one word in a failure's report, not thousands.


@st.composite
def telling(draw: st.DrawFn) -> bytes:
    """Draw bytes that parsers are known to stumble over."""
    return _TELLING[draw(st.integers(0, len(_TELLING) - 1))]


_position = st.floats(0, 1, exclude_max=True)
_change = st.tuples(
    st.sampled_from(["put", "cut", "twice", "bit", "token"]),
    _position,
    st.integers(0, 20),
    telling() | st.binary(max_size=8),
)


_changes = st.lists(_change, min_size=1, max_size=4)


@st.composite
def spoilt(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Valid bytes, changed in a few places."""
    return _changed(draw(whole), draw(_changes))


def _changed(data: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
    for kind, where, length, put in changes:
        at = int(where * (len(data) + 1))
        part, rest = data[at : at + length], data[at + length :]
        match kind:
            case "token":  # where JSON has a seam
                seams = [number + 1 for number, byte in enumerate(data) if byte in b'{}[],:"'] or [0]
                seam = seams[int(where * len(seams))]
                data = data[:seam] + put + data[seam:]
            case "put":
                data = data[:at] + put + rest
            case "cut":
                data = data[:at] + rest
            case "twice":
                data = data[:at] + part + part + rest
            case "bit" if part:
                data = data[:at] + bytes([part[0] ^ (1 << length % 8)]) + part[1:] + rest
    return data


def bodies(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """Bodies: valid ones, valid ones spoilt, noise."""
    return _bodies(seeds)


@st.composite
def _bodies(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    valid = st.sampled_from(seeds)
    return draw(valid | spoilt(valid) | spoilt(valid) | valid_bodies | spoilt(valid_bodies) | arbitrary_bodies)
