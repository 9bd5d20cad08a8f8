"""What hypothesis draws headers and bodies from."""

import json
import string
from datetime import UTC, datetime

from hypothesis import strategies as st

OWN_HEADERS = (
    *("trace_id", "traceparent", "tracestate", "attempt", "deferrals", "first_failed_at", "not_before", "wait_left"),
    *("error_type", "error_message", "error_frame", "error_chain", "dead_letter_reason", "dead_letter_id"),
    *("origin_exchange", "origin_routing_key", "origin_message_id", "replay_id"),
)
BROKER_HEADERS = (
    *("x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason", "x-last-death-exchange"),
    *("x-last-death-queue", "x-last-death-reason", "x-delivery-count", "x-acquired-count"),
)

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-2, 300)
    | st.floats()
    | st.decimals(-1000, 1000, places=3)
    | st.text(max_size=300)
    | st.binary(max_size=40)
    | st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zone given apart
)
_names = st.text(max_size=30)
header_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=4), max_leaves=8
)
"""Everything a publisher can put into a header."""

_telling = st.sampled_from(
    [
        *(
            "",
            " ",
            "0",
            "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
            "orders",
            "order.placed",
            "malformed",
            "a\nb",
            "é" * 128,
        ),
        *("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "ff-" + "0" * 32 + "-" + "0" * 16 + "-00"),
        *(0, 1, 5, -1, 2**31, 1_772_366_400_000, True, 1.0, b"\xff", ["a"], {"a": 1}),
    ]
)
_given_names = st.sampled_from(OWN_HEADERS) | st.sampled_from(BROKER_HEADERS) | _names | st.just("x-tenant")
arbitrary_headers = st.dictionaries(_given_names, _telling | header_values, max_size=12)
"""Headers as anybody may send them: ours with nonsense in them, the broker's, a publisher's."""

order_ids = st.text(string.ascii_letters + string.digits + "-éß漢🚚", min_size=1, max_size=200)
valid_orders = st.fixed_dictionaries(
    {"order_id": order_ids, "destination": order_ids}, optional={"note": st.text(), "lines": st.lists(st.integers())}
)
valid_bodies = valid_orders.map(json.dumps).map(str.encode)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["order_id", "destination"]) | st.text(), inner),
    max_leaves=10,
)
_almost = st.fixed_dictionaries({}, optional={"order_id": order_ids | _json, "destination": order_ids | _json})
arbitrary_bodies = st.binary() | (_json | _almost).map(json.dumps).map(str.encode) | valid_bodies
"""Bodies from noise to orders."""
