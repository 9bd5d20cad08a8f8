"""What a body must be to be a delivery notice, and what is said of one that is none."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import arbitrary_bodies, order_ids
from worker.domain.delivery_notice import DeliveryNotice, parse_notice, readable_names
from worker.domain.errors import MalformedNoticeError
from worker.domain.shipment import shipment_id_for

ID = shipment_id_for("A-1")
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MS = 1_772_366_400_000
MARK = "Zq7Xw"
"""Something no sentence of ours contains."""

moments = st.datetimes(datetime(2000, 1, 2), datetime(9999, 12, 30), timezones=st.timezones())  # noqa: DTZ001 - zone given apart
_odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)
_almost = st.fixed_dictionaries(
    {},
    optional={
        "shipment_id": st.just(ID) | _odd,
        "order_id": st.sampled_from(["A-1", "A-2"]) | _odd,
        "delivered_at": st.just(MS) | moments.map(datetime.isoformat) | _odd,
    },
)
bodies = arbitrary_bodies | _almost.map(json.dumps).map(str.encode)


def body(**fields: object) -> bytes:
    return json.dumps({"delivered_at": MS, **fields}).encode()


def judged(body: bytes) -> DeliveryNotice | MalformedNoticeError:
    try:
        return parse_notice(body)
    except MalformedNoticeError as error:
        return error


def at(value: object) -> datetime:
    return parse_notice(body(order_id="A-1", delivered_at=value)).delivered_at


@given(bodies)
def test_a_body_is_a_notice_or_malformed_and_nothing_else_happens(body: bytes) -> None:
    notice = judged(body)
    if isinstance(notice, MalformedNoticeError):
        assert str(notice)
        assert readable_names(body)[0] == notice.order_id
        return
    document = json.loads(body)
    assert readable_names(body) == (notice.order_id, notice.shipment)
    assert notice.order_id == document.get("order_id")
    assert notice.order_id is None or notice.shipment == shipment_id_for(notice.order_id)
    assert notice.delivered_at.utcoffset() == timedelta(0)
    assert notice.delivered_at.microsecond % 1000 == 0


@given(order_ids, moments, st.sampled_from(["order", "shipment", "both"]))
def test_every_notice_that_keeps_the_rules_is_taken(order_id: str, moment: datetime, names: str) -> None:
    named = {"order_id": order_id, "shipment_id": shipment_id_for(order_id)}
    chosen = {"order": ["order_id"], "shipment": ["shipment_id"], "both": ["order_id", "shipment_id"]}[names]
    moment = moment.replace(fold=0)
    notice = parse_notice(body(**{name: named[name] for name in chosen}, delivered_at=_iso(moment)))
    assert notice.shipment == named["shipment_id"]
    assert abs(notice.delivered_at - moment) < timedelta(minutes=1)  # zones of old had seconds, ISO 8601 has none


def _iso(moment: datetime) -> str:
    offset = moment.utcoffset() or timedelta(0)
    whole = timezone(timedelta(minutes=offset // timedelta(minutes=1)))
    return moment.replace(tzinfo=whole).isoformat()


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-03-01T12:00:00Z", AT),
        ("2026-03-01T12:00:00", AT),
        ("2026-03-01 12:00", AT),
        ("2026-03-01t12:00:00z", AT),
        ("2026-03-01T13:00:00+01:00", AT),
        ("2026-03-01T13:00:00+0100", AT),
        ("2026-03-01T13:00+01", AT),
        ("2026-03-01T04:30:00.000-07:30", AT),
        ("2026-03-01T12:00:00.1239Z", AT + timedelta(milliseconds=123)),
        ("2026-03-01T12:00:00,123456789Z", AT + timedelta(milliseconds=123)),
        (MS, AT),
        (MS + 7, AT + timedelta(milliseconds=7)),
    ],
)
def test_a_time_may_be_text_with_or_without_a_zone_or_milliseconds(written: object, moment: datetime) -> None:
    assert at(written) == moment


@pytest.mark.parametrize(
    "written",
    [
        *("", "now", "2026-03-01", "12:00", "2026-02-30T12:00:00Z", "2026-03-01T25:00:00Z", "2026-W09-7T12:00"),
        *("20260301T120000Z", "2026-03-01T12:00:00 Europe/Oslo", "2026-03-01T12:00:00Z\n", str(MS), "٢٠٢٦-03-01T12:00"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:00-12:00", "1999-12-31T23:59:59Z"),
        *(None, True, float(MS), -1, 0, MS // 1000, 10**15, 10**400, [MS], {"$date": MS}),
    ],
)
def test_what_is_no_time_of_a_delivery_is_refused(written: object) -> None:
    with pytest.raises(MalformedNoticeError, match=r"^delivered_at: needs a time .*milliseconds.*\(not seconds\)$"):
        at(written)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "not an object"),
        (b'{"order_id": "A-1", "order_id": "A-1", "delivered_at": 1772366400000}', "twice"),
        (b'{"order_id": "A-1"}', "delivered_at: Field required"),
        (b'{"delivered_at": 1772366400000}', "body: needs shipment_id or order_id"),
        (body(shipment_id=None, order_id=None), "body: needs shipment_id or order_id"),
        (body(order_id=7), "order_id: Input should be a valid string"),
        (body(order_id="A\n1"), "order_id: needs a visible character"),
        (body(order_id="A" * 201), "order_id"),
        (body(shipment_id="A-1"), "shipment_id: needs a UUID, such as "),
        (body(shipment_id=7), "shipment_id: needs a UUID"),
        (body(shipment_id=f"{{{ID}}}"), "shipment_id: needs a UUID"),
        (body(shipment_id=ID.replace("-", "")), "shipment_id: needs a UUID"),
        (body(shipment_id=ID, order_id="A-2"), "body: shipment_id is not the shipment of order_id"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, says: str) -> None:
    with pytest.raises(MalformedNoticeError, match=re.escape(says)):
        parse_notice(body)


@given(st.dictionaries(st.sampled_from(["shipment_id", "order_id", "delivered_at", MARK]), st.just(f"{MARK}\x00")))
def test_a_complaint_never_repeats_what_is_in_the_body(document: dict[str, str]) -> None:
    with pytest.raises(MalformedNoticeError) as raised:
        parse_notice(json.dumps(document).encode())
    assert MARK not in str(raised.value)


def test_a_shipment_id_may_be_written_in_capitals() -> None:
    assert parse_notice(body(shipment_id=ID.upper(), order_id="A-1")).shipment_id == ID


def test_unknown_fields_are_welcome_and_absent_ones_may_be_null() -> None:
    notice = parse_notice(body(order_id="A-1", shipment_id=None, signed_by="Ola", destination="Oslo"))
    assert (notice.order_id, notice.shipment_id, notice.shipment, notice.delivered_at) == ("A-1", None, ID, AT)


def test_a_body_over_the_limit_is_refused_unread() -> None:
    given = body(order_id="A-1")
    assert parse_notice(given, max_bytes=len(given)).order_id == "A-1"
    with pytest.raises(MalformedNoticeError, match="at most 10"):
        parse_notice(given, max_bytes=10)
    assert readable_names(given, max_bytes=10) == (None, None)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"order_id": "A-1"}', ("A-1", ID)),
        (json.dumps({"shipment_id": ID.upper()}).encode(), (None, ID)),
        (body(order_id="A-1", shipment_id="nonsense"), ("A-1", ID)),
        (body(order_id="A-1", shipment_id=shipment_id_for("A-2")), ("A-1", ID)),
        (body(order_id=" ", shipment_id=ID), (None, ID)),
        (b"{}", (None, None)),
        (b"\xff", (None, None)),
    ],
)
def test_the_names_are_told_where_they_can_be_read(body: bytes, names: tuple[str | None, str | None]) -> None:
    assert readable_names(body) == names
