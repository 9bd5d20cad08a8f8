"""The parsers under a coverage-guided fuzzer, by hand: `python -m tests.fuzz.coverage_guided body CORPUS …`.

Needs atheris, which is no dependency of ours: `pip install atheris`, beside the packages of the project. `body` fuzzes
the parsers of orders and notices, `header` the reading of content headers. What follows goes to libFuzzer.
"""

import sys
from pathlib import Path

import atheris
from pamqp import frame, header

with atheris.instrument_imports(include=["worker", "infra", "pamqp", "json"]):
    from infra.rabbitmq.lenient import _decodable
    from tests.support.raw_bodies import NOTICES, ORDERS
    from tests.support.raw_headers import SEEDS, content_header
    from worker.domain.delivery import Delivery, MessageState
    from worker.domain.delivery_notice import parse_notice, readable_names
    from worker.domain.errors import MalformedMessageError
    from worker.domain.order import parse_order, readable_order_id


def body(data: bytes) -> None:
    for parse in (parse_order, parse_notice):
        try:
            parse(data)
        except MalformedMessageError as error:
            if not str(error).isprintable():
                raise AssertionError("a complaint with control characters") from error
    readable_order_id(data)
    readable_names(data)


def content(data: bytes) -> None:
    if len(data) < 2:
        return
    _, _, read = frame.unmarshal(_decodable(content_header(data, body_size=1)))
    assert isinstance(read, header.ContentHeader)
    MessageState.read(Delivery(b"", read.properties.headers or {}), order_id="A-1")


def main() -> None:
    which, corpus, *options = sys.argv[1:]
    Path(corpus).mkdir(exist_ok=True)
    for number, seed in enumerate((*ORDERS, *NOTICES) if which == "body" else SEEDS):
        (Path(corpus) / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], corpus, *options], body if which == "body" else content)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
