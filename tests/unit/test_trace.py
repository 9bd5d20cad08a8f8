"""One trace ID for an order's whole life."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import arbitrary_headers
from worker.domain.trace import TraceContext, is_valid_trace_id, trace_context_ctx, trace_id_ctx, trace_scope

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
W3C = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def trace_of(seed: str = "A-1", **headers: object) -> TraceContext:
    return TraceContext.from_headers(headers, seed=seed)


@given(arbitrary_headers, st.text(st.characters()))
def test_whatever_the_headers_hold_there_is_a_usable_trace(headers: dict[str, object], seed: str) -> None:
    trace = TraceContext.from_headers(headers, seed=seed)
    assert is_valid_trace_id(trace.trace_id)
    assert W3C.fullmatch(trace.traceparent)
    assert W3C.fullmatch(trace.child_traceparent())
    assert TraceContext.from_headers(headers, seed=seed) == trace


@given(arbitrary_headers, st.text(), st.text())
def test_a_trace_once_made_is_the_same_whoever_reads_it_on(headers: dict[str, object], seed: str, later: str) -> None:
    trace = TraceContext.from_headers(headers, seed=seed)
    sent: dict[str, object] = {"trace_id": trace.trace_id, "traceparent": trace.traceparent}
    if trace.tracestate is not None:
        sent["tracestate"] = trace.tracestate
    assert TraceContext.from_headers(sent, seed=later) == trace


@given(st.text(min_size=1, max_size=128).filter(is_valid_trace_id))
def test_a_valid_trace_id_is_kept_as_it_is(trace_id: str) -> None:
    assert trace_of(trace_id=trace_id).trace_id == trace_id


@pytest.mark.parametrize(
    "value", ["t", "zürich-追跡-🚚", "a b", "x" * 128, "4bf92f3577b34da6a3ce929d0e0e4736", "<\"'&>"]
)
def test_any_text_of_128_characters_can_be_a_trace_id(value: str) -> None:
    assert is_valid_trace_id(value)


@pytest.mark.parametrize(
    "value",
    ["", " ", "\u2003", "x" * 129, "a\nb", "a\r", "\x00", "\x1b[2J", "\u2028", "\u0085", "\ud800", 7, b"t", None],
)
def test_what_would_break_a_log_line_or_a_header_is_no_trace_id(value: object) -> None:
    assert not is_valid_trace_id(value)
    assert trace_of(trace_id=value) == trace_of()


def test_without_headers_the_trace_depends_on_the_order_alone() -> None:
    assert trace_of(seed="A-1") == trace_of(seed="A-1")
    assert trace_of(seed="A-1").trace_id != trace_of(seed="A-2").trace_id
    assert re.fullmatch("[0-9a-f]{32}", trace_of().trace_id)
    assert trace_of().traceparent.split("-")[1] == trace_of().trace_id


def test_a_w3c_trace_is_continued() -> None:
    trace = trace_of(traceparent=TRACEPARENT, tracestate="vendor=1,other=2")
    assert trace == TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", TRACEPARENT, "vendor=1,other=2")
    assert trace_of(traceparent=TRACEPARENT, trace_id="mine").trace_id == "mine"


@pytest.mark.parametrize("given_id", ["4bf92f3577b34da6a3ce929d0e0e4736", "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736"])
def test_a_trace_id_of_32_hexadecimal_digits_is_the_w3c_trace_too(given_id: str) -> None:
    assert trace_of(trace_id=given_id).traceparent.split("-")[1] == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        TRACEPARENT.upper(),
        TRACEPARENT.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        f"{TRACEPARENT}-more",
        f"{TRACEPARENT}\n",
        f"cc{TRACEPARENT[2:]}-{'x' * 600}",
        TRACEPARENT.encode(),
    ],
)
def test_a_traceparent_that_is_none_is_replaced_and_its_tracestate_dropped(value: object) -> None:
    assert trace_of(traceparent=value, tracestate="vendor=1") == trace_of()


def test_a_traceparent_of_a_later_version_is_continued_as_far_as_it_is_known() -> None:
    assert trace_of(traceparent=f"cc{TRACEPARENT[2:]}-more").traceparent == f"cc{TRACEPARENT[2:]}"


@pytest.mark.parametrize("tracestate", ["", "a=ü", "a=1\r\nX-Evil: 1", "a" * 513, 7])
def test_a_tracestate_that_fits_no_header_is_dropped(tracestate: object) -> None:
    assert trace_of(traceparent=TRACEPARENT, tracestate=tracestate).tracestate is None


def test_each_call_has_a_parent_id_of_its_own_in_the_same_trace() -> None:
    trace = trace_of(traceparent=TRACEPARENT)
    version, trace_part, parent, flags = trace.child_traceparent().split("-")
    assert (version, trace_part, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01")
    assert parent not in trace.child_traceparent()


async def test_tasks_do_not_see_each_other_s_trace() -> None:
    async def task(name: str) -> str | None:
        with trace_scope(name, trace_of(trace_id=name)):
            await asyncio.sleep(0)
            context = trace_context_ctx.get()
            assert context is not None
            assert context.trace_id == name
            return trace_id_ctx.get()

    assert await asyncio.gather(*(task(str(number)) for number in range(10))) == [str(number) for number in range(10)]
    assert trace_id_ctx.get() is None


def test_a_scope_ends_when_its_block_fails() -> None:
    with trace_scope("outer"):
        with pytest.raises(KeyError), trace_scope("inner"):
            raise KeyError
        assert trace_id_ctx.get() == "outer"
