"""Reading lines: none longer than allowed, none lost, in a thread that holds up nobody."""

import asyncio
import io
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.line_source import LineSource, OverlongLine, read_ahead

LIMIT = 8
LINES = st.binary(max_size=3 * LIMIT).map(lambda data: data.replace(b"\n", b"?").replace(b"\r", b"?"))


class Recording(io.BytesIO):
    """A file that remembers the longest piece it was asked for."""

    longest = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        piece = super().readline(size)
        self.longest = max(self.longest, len(piece))
        return piece


@given(st.lists(LINES), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_every_line_comes_out_without_its_end_and_a_longer_one_as_overlong(
    lines: list[bytes], end: bytes, last_has_end: bool
) -> None:
    data = end.join(lines) + (end if last_has_end and lines else b"")
    source = LineSource(io.BytesIO(data), max_bytes=LIMIT)
    expected = [line if len(line) <= LIMIT else OverlongLine(LIMIT) for line in lines]
    if lines and not last_has_end and not lines[-1]:
        expected.pop()  # nothing after the last line end is no line
    assert list(source) == expected
    assert source.bytes_read == len(data)


def test_a_line_longer_than_allowed_is_never_held_as_a_whole() -> None:
    file = Recording(b"x" * 10_000_000 + b"\nshort\n")
    assert list(LineSource(file, max_bytes=1000)) == [OverlongLine(1000), b"short"]
    assert file.longest <= 64 * 1024


async def test_items_come_in_order_with_at_most_so_many_waiting() -> None:
    made: list[int] = []
    waiting: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5000):
            made.append(number)
            yield number

    taken = []
    async for item in read_ahead(items(), ahead=16):
        taken.append(item)
        waiting.append(len(made) - len(taken))
    assert taken == made
    assert max(waiting) <= 16 + 1  # one more in the thread's hand


async def test_an_item_is_there_before_the_next_one_is_made() -> None:
    go_on = threading.Event()

    def items() -> Iterator[str]:
        yield "first"
        assert go_on.wait(20)
        yield "second"

    feed = read_ahead(items(), ahead=10)
    assert await asyncio.wait_for(anext(feed), 10) == "first"
    go_on.set()
    assert await anext(feed) == "second"
    await feed.aclose()


async def test_what_the_items_raise_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    feed = read_ahead(items(), ahead=10)
    assert await anext(feed) == 1
    with pytest.raises(OSError, match="gone"):
        await anext(feed)


async def test_the_thread_ends_when_nobody_takes_any_more() -> None:
    others = set(threading.enumerate())
    feed = read_ahead(iter(range(1000)), ahead=3)
    assert await anext(feed) == 0
    (reader,) = set(threading.enumerate()) - others
    await feed.aclose()
    await asyncio.to_thread(reader.join, 10)
    assert not reader.is_alive()
