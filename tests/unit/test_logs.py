"""Log lines: JSON for machines, text on a terminal, and nothing in either that does not belong there."""

import asyncio
import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.telemetry.logs import setup_logging
from tests.support.system import eventually
from worker.domain.log import StructuredLogger, log_fields_ctx
from worker.domain.trace import trace_scope
from worker.settings import load_settings

SECRET = "hunter2-Zq7Xw"


class Stream(io.StringIO):
    """Where the lines go; a terminal or not."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class Room:
    """A logger, and what came out."""

    def __init__(self, *, is_terminal: bool = False, level: str = "DEBUG") -> None:
        self._stream = Stream(is_terminal=is_terminal)
        setup_logging(level, stream=self._stream)
        self.log = StructuredLogger("logistics.test")

    async def text(self) -> str:
        """Everything written so far: the lines are written by a thread of their own."""
        self.log.error("the.end")
        await eventually(lambda: "the.end" in self._stream.getvalue(), timeout=5, every=0.002)
        return "".join(line for line in self._stream.getvalue().splitlines(keepends=True) if "the.end" not in line)

    async def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (await self.text()).splitlines() if line]

    async def line(self) -> dict[str, Any]:
        (line,) = await self.lines()
        return line


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def terminal() -> Room:
    return Room(is_terminal=True)


def failed() -> Exception:
    try:
        int("deep")
    except ValueError as error:
        return error
    raise AssertionError


async def test_a_line_has_event_level_logger_time_and_fields(room: Room) -> None:
    room.log.info("order.shipped", order_id="A-1", attempt=2)
    line = await room.line()
    assert line.pop("timestamp").startswith("20")
    assert line == {
        "event": "order.shipped",
        "level": "INFO",
        "logger": "logistics.test",
        "pid": os.getpid(),
        "order_id": "A-1",
        "attempt": 2,
    }


async def test_the_trace_and_the_order_s_fields_come_from_the_task(room: Room) -> None:
    async def handle(name: str) -> None:
        with trace_scope(f"trace-{name}"):
            log_fields_ctx.set({"order_id": name, "attempt": 1})
            await asyncio.sleep(0)
            room.log.info("order.shipped")

    await asyncio.gather(handle("A"), handle("B"))
    room.log.info("worker.idle")
    a, b, idle = await room.lines()
    assert [(line["trace_id"], line["order_id"]) for line in (a, b)] == [("trace-A", "A"), ("trace-B", "B")]
    assert "trace_id" not in idle


async def test_the_trace_is_the_one_of_the_moment_and_not_of_the_writing(room: Room) -> None:
    for number in range(50):
        with trace_scope(f"trace-{number}"):
            room.log.debug("x")
    assert [line["trace_id"] for line in await room.lines()] == [f"trace-{number}" for number in range(50)]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
async def test_each_level_is_called_by_its_name(room: Room, level: str) -> None:
    getattr(room.log, level)("x")
    assert (await room.line())["level"] == level.upper()


async def test_what_is_below_the_level_is_not_written() -> None:
    room = Room(level="WARNING")
    room.log.info("quiet")
    room.log.warning("loud")
    assert (await room.line())["event"] == "loud"


@pytest.mark.parametrize("text", ['a\n{"event": "forged"}', "a\r\n", "\x00\x1b[2J", "\u2028", "é🚚", '"\\', "\x85"])
async def test_nothing_in_a_field_can_forge_a_line(room: Room, text: str) -> None:
    with trace_scope(text):
        room.log.info("x", error=text, **{text: 1})
    line = await room.line()
    assert (line["event"], line["error"], line["trace_id"], line[text]) == ("x", text, text, 1)


@pytest.mark.parametrize("value", ["half \ud800 pair", 2**80, b"\xff", {"a": object()}, float("nan"), {1: 2}, {"x", 1}])
async def test_no_line_is_lost_because_of_what_is_in_it(room: Room, value: object) -> None:
    room.log.info("x", order_id="A-1", odd=value)
    line = await room.line()
    assert (line["event"], line["order_id"]) == ("x", "A-1")


async def test_a_field_called_like_a_part_of_the_line_cannot_take_its_place(room: Room) -> None:
    room.log.info("x", name="forged", message="forged", levelname="forged", msg="forged", args=("forged",))
    line = await room.line()
    assert (line["event"], line["logger"], line["level"]) == ("x", "logistics.test", "INFO")


async def test_a_very_long_field_is_cut(room: Room) -> None:
    room.log.info("x", error="y" * 10_000)
    assert len((await room.line())["error"]) == 2000


async def test_an_error_keeps_its_traceback_on_one_line(room: Room) -> None:
    room.log.error("delivery.crashed", exc_info=failed(), queue="orders.work")
    line = await room.line()
    assert line["queue"] == "orders.work"
    assert 'int("deep")' in line["exc_info"]
    assert "ValueError: invalid literal" in line["exc_info"]


async def test_lines_of_libraries_are_json_too_but_not_of_the_noisy_ones(room: Room) -> None:
    logging.getLogger("somebody").warning("gone: %s", "x")
    logging.getLogger("aio_pika.robust").error("connection lost")
    line = await room.line()
    assert (line["event"], line["logger"]) == ("gone: x", "somebody")


@pytest.mark.parametrize("is_terminal", [False, True])
async def test_secrets_of_the_settings_are_never_logged(is_terminal: bool) -> None:
    room = Room(is_terminal=is_terminal)
    names = {"AMQP_URL": "amqp", "MONGODB_URI": "mongodb", "SUPPLIER_URL": "http"}
    settings = load_settings({f"LOGISTICS_{name}": f"{scheme}://u:{SECRET}@h" for name, scheme in names.items()})
    room.log.info("x", settings=settings, url=settings.amqp_url, all=[settings], by={"uri": settings.mongodb_uri})
    room.log.info("x", dumped=settings.model_dump())
    text = await room.text()
    assert text.count("\n") == 2
    assert SECRET not in text


async def test_on_a_terminal_a_line_is_readable_and_coloured(terminal: Room) -> None:
    with trace_scope("trace-7"):
        terminal.log.warning("order.retry", delay="5s")
    text = await terminal.text()
    plain = text
    for code in ("0", "2", "33"):
        plain = plain.replace(f"\x1b[{code}m", "")
    assert plain[8:].split() == ["WARNING", "order.retry", "trace_id=trace-7", "delay=5s"]


@pytest.mark.parametrize("text", ["a\nforged", "\x1b[2J", "a\rb", "\x07", "\u202e", "half \ud800 pair"])
async def test_on_a_terminal_nothing_in_a_field_moves_the_cursor(terminal: Room, text: str) -> None:
    terminal.log.info("x", error=text)
    written = await terminal.text()
    assert text not in written
    assert text.encode("unicode_escape").decode() in written
    assert written.count("\n") == 1


async def test_on_a_terminal_a_traceback_follows_its_line(terminal: Room) -> None:
    terminal.log.error("delivery.crashed", exc_info=failed())
    first, *rest = (await terminal.text()).splitlines()
    assert "delivery.crashed" in first
    assert rest[0].startswith("Traceback")
    assert rest[-1].startswith("ValueError: invalid literal")


@pytest.mark.parametrize("make", [lambda: Room(), lambda: Room(is_terminal=True)])
async def test_setting_up_again_replaces_what_was(make: Callable[[], Room]) -> None:
    first = Room()
    second = make()
    second.log.info("x")
    assert (await second.text()).count("\n") == 1
    assert first._stream.getvalue() == ""
