"""Raw AMQP content headers the fuzz targets are given: values of every type, some of no type, and seeds spoilt."""

import struct

from hypothesis import strategies as st
from pamqp import commands, constants, header

from tests.support.raw_bodies import spoilt, telling
from tests.support.strategies import BROKER_HEADERS, OWN_HEADERS


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _sized(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _table(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return _sized(b"".join(_short(name) + value for name, value in pairs))


_REFERENCE = b"F" + _table([(b"$ref", b"S" + _sized(b"shipments")), (b"$id", b"V")])
"""What BSON would take for a reference to a document."""
_texts = st.text(max_size=20).map(str.encode) | st.binary(max_size=20) | telling()
_ids = st.sampled_from([b"4bf92f35-77b3-4da6-a3ce-929d0e0e4736", b"malformed", b"shipments", b"delivery_limit"])
_traces = st.sampled_from(
    [
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        b"a=1,b=2",
        "trace-é".encode(),
    ]
)
_LATEST = 253_402_300_799_999  # the last time the client can read, in milliseconds
_small = st.sampled_from([0, 1, 2, 5, 6, 1_000_000, 1_000_001, 253_402_300_799_000, 2**62])


def _number(tag: bytes, code: str, low: int, high: int) -> st.SearchStrategy[bytes]:
    numbers = st.integers(low, high) | _small.filter(lambda number: low <= number <= high)
    return numbers.map(lambda number: tag + struct.pack(f">{code}", number))


_any_scalar = st.one_of(
    (_texts | _ids | _traces).map(lambda text: b"S" + _sized(text)),
    st.binary(max_size=20).map(lambda data: b"x" + _sized(data)),
    st.integers(0, 255).map(lambda number: b"t" + bytes([number])),
    _number(b"b", "b", -(2**7), 2**7 - 1),
    _number(b"B", "B", 0, 2**8 - 1),
    _number(b"s", "h", -(2**15), 2**15 - 1),
    _number(b"u", "H", 0, 2**16 - 1),
    _number(b"I", "i", -(2**31), 2**31 - 1),
    _number(b"i", "I", 0, 2**32 - 1),
    _number(b"l", "q", -(2**63), 2**63 - 1),
    _number(b"T", "Q", 0, _LATEST),
    st.binary(min_size=4, max_size=4).map(lambda data: b"f" + data),
    st.binary(min_size=8, max_size=8).map(lambda data: b"d" + data),
    st.binary(min_size=5, max_size=5).map(lambda data: b"D" + data),
    st.sampled_from([b"V", b"\x00", _REFERENCE]),
)


@st.composite
def _scalars(draw: st.DrawFn) -> bytes:
    value: bytes = draw(_any_scalar)
    return value


_any_names = st.text(max_size=15).map(str.encode)
_given_names = st.sampled_from(
    [name.encode() for name in (*OWN_HEADERS, *BROKER_HEADERS, "x-tenant", "$ref", "$id", "a.b", "a\x00b")]
)
_names = _given_names | _given_names | _any_names


def _nested(depth: int, tag: bytes, core: bytes) -> bytes:
    """A value so many tables or lists deep."""
    for _ in range(depth):
        core = tag + (_table([(b"n", core)]) if tag == b"F" else _sized(core))
    return core


_deep = st.builds(
    _nested, st.sampled_from([1, 19, 20, 21, 99, 100, 101, 200, 400, 440]), st.sampled_from([b"F", b"A"]), _scalars()
)
_values = st.recursive(
    _scalars(),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: b"A" + _sized(b"".join(items)))
        | st.lists(st.tuples(_names, inner), max_size=3).map(lambda pairs: b"F" + _table(pairs))
    ),
    max_leaves=6,
)
_deaths = st.builds(
    lambda reason, queue, keys: (
        b"A"
        + _sized(b"F" + _table([(b"reason", reason), (b"queue", queue), (b"exchange", queue), (b"routing-keys", keys)]))
    ),
    *[st.sampled_from([b"delivery_limit", b"expired", b"rejected", b"\xff"]).map(lambda text: b"S" + _sized(text))],
    *[st.sampled_from([b"orders.work", b"shipments.delivered", b"shipments"]).map(lambda text: b"S" + _sized(text))],
    _values,
)
_large = st.integers(10_000, 90_000).map(lambda size: b"S" + _sized(b"L" * size))
_pairs = st.tuples(_names, _values) | st.tuples(_names, _values) | st.tuples(_names, _deep | _large)
_table_pairs = st.lists(_pairs | st.tuples(st.just(b"x-death"), _deaths), max_size=8)
_unreadable = st.one_of(
    st.tuples(st.binary(min_size=1, max_size=15), _values),
    st.tuples(_names, st.integers(_LATEST + 1, 2**64 - 1).map(lambda moment: b"T" + struct.pack(">Q", moment))),
    st.tuples(_names, st.sampled_from([b"?", _nested(480, b"F", b"V"), _nested(2000, b"A", b"V")])),
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A header table as it comes over the wire: names and values of every type, now and then unreadable ones."""
    pairs = draw(_table_pairs)
    if draw(st.integers(0, 7)) == 0:
        pairs.insert(draw(st.integers(0, len(pairs))), draw(_unreadable))
    return _table(pairs)


_MODES = st.sampled_from([1, 2, 2, 2, 0, 5, 255]).map(lambda mode: bytes([mode]))
_readable = (_ids | st.text(max_size=20).map(str.encode)).map(_short)
_shorts = _readable | _readable | _readable | _texts.map(lambda text: _short(text[:255]))
_numbers_as_text = st.sampled_from([b"60000", b"-1", b"1e400", b"nan", b"x", b""]).map(_short)
_times = (st.integers(0, _LATEST) | st.sampled_from([0, 1_772_366_400, 2**32, _LATEST + 1, 2**64 - 1])).map(
    lambda moment: struct.pack(">Q", moment)
)
# In the order of the wire; the flag of the first is 2**15. See the AMQP 0-9-1 reference, class basic.
_PROPERTIES = (
    *(_shorts, _shorts, tables(), _MODES, st.binary(min_size=1, max_size=1), _shorts, _shorts, _numbers_as_text),
    *(_shorts, _times, _shorts, _shorts, _shorts, st.just(_short(b""))),
)
_present = st.tuples(*[st.none() | strategy for strategy in _PROPERTIES])
_headers_only = tables().map(lambda table: (None, None, table, *[None] * 11))


def _flagged(values: tuple[bytes | None, ...]) -> bytes:
    flags = sum(1 << (15 - number) for number, value in enumerate(values) if value is not None)
    return struct.pack(">H", flags) + b"".join(value for value in values if value is not None)


def _property_seed(**properties: object) -> bytes:
    whole = header.ContentHeader(properties=commands.Basic.Properties(**properties), body_size=0)  # type: ignore[arg-type]
    return whole.marshal()[12:]


SEEDS = (
    _property_seed(),
    _property_seed(message_id="m-1", delivery_mode=2, content_type="application/json", headers={"trace_id": "t-1"}),
    _property_seed(
        message_id="m-2",
        delivery_mode=2,
        headers={
            "trace_id": "t-1",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "attempt": 2,
            "deferrals": 1,
            "first_failed_at": 1_772_366_400_000,
            "not_before": 1_772_366_400_000,
            "error_chain": ["a", "b"],
            "origin_exchange": "orders",
            "origin_routing_key": "order.placed",
            "origin_message_id": "m-1",
            "dead_letter_id": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
            "replay_id": "4bf92f35-77b3-4da6-a3ce-929d0e0e4737",
            "x-tenant": {"a": [1, 2.5, None, True]},
        },
    ),
)
_any_properties = st.one_of(
    _present.map(_flagged), _headers_only.map(_flagged), st.sampled_from(SEEDS), spoilt(st.sampled_from(SEEDS))
).filter(lambda data: 2 <= len(data) <= 120_000)


@st.composite
def properties(draw: st.DrawFn) -> bytes:
    """The property part of a content header: flags and values; at most a frame, as the broker sends them."""
    return draw(_any_properties)


def content_header(properties: bytes, *, body_size: int) -> bytes:
    """Return the frame that announces a body, as it comes over the wire."""
    payload = struct.pack(">HHQ", commands.Basic.frame_id, 0, body_size) + properties
    return struct.pack(">BHI", 2, 1, len(payload)) + payload + bytes([constants.FRAME_END])
