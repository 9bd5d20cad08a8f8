"""The supplier simulator over real HTTP."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from infra.supplier.simulator import CannotListen, SupplierSimulator, run_simulator
from infra.supplier.simulator_behaviour import Behaviour, WrongBehaviour, read_behaviour

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Client:
    """A well-behaved client, with which a test can misbehave on purpose."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def dispatch(
        self,
        order_id: str = "A-1",
        *,
        timeout: float = 5,
        drop: str = "",
        headers: dict[str, str] | None = None,
        **body: object,
    ) -> tuple[int, Any]:
        order: dict[str, object] = {"shipment_id": f"s-{order_id}", "order_id": order_id, "destination": "Berlin"}
        order |= body
        sent = {"Idempotency-Key": str(order["shipment_id"]), "X-Trace-Id": "trace-1", "traceparent": TRACEPARENT}
        sent |= headers or {}
        sent.pop(drop, None)
        order.pop(drop, None)
        return await self.call("POST", "/dispatches", timeout=timeout, json=order, headers=sent)

    async def call(self, method: str, path: str, *, timeout: float = 5, **more: Any) -> tuple[int, Any]:
        within = aiohttp.ClientTimeout(total=timeout)
        async with self._session.request(
            method, self.url + path, timeout=within, allow_redirects=False, **more
        ) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def stats(self) -> dict[str, Any]:
        _, stats = await self.call("GET", "/simulator/stats")
        assert isinstance(stats, dict)
        return stats


@pytest.fixture
async def simulator() -> AsyncIterator[SupplierSimulator]:
    simulator = SupplierSimulator()
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def client(simulator: SupplierSimulator) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(simulator.url, session)


async def until(simulator: SupplierSimulator, name: str, value: object) -> None:
    async with asyncio.timeout(5):
        while simulator.stats()[name] != value:  # noqa: ASYNC110  the simulator gives no signal
            await asyncio.sleep(0.01)


async def raw_answer(simulator: SupplierSimulator) -> bytes:
    """What comes back on a bare socket up to the end of the connection."""
    host, port = simulator.url.removeprefix("http://").split(":")
    body = json.dumps({"shipment_id": "s", "order_id": "A-1", "destination": "Berlin"})
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        "POST /dispatches HTTP/1.1",
        "Host: supplier",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Idempotency-Key: s",
        "X-Trace-Id: t",
        f"traceparent: {TRACEPARENT}",
    )
    try:
        writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())
        return await reader.read()
    finally:
        writer.close()


# --- accepting, and idempotency ---


async def test_an_order_is_accepted_with_a_dispatch_id(client: Client) -> None:
    assert await client.dispatch() == (201, {"accepted": True, "dispatch_id": "D-00000001"})


async def test_a_repeated_key_gets_the_same_answer_and_is_no_dispatch(client: Client) -> None:
    _, first = await client.dispatch()
    assert await client.dispatch() == (200, {**first, "duplicate": True})
    stats = await client.stats()
    assert (stats["dispatches"], stats["repeated"], stats["double_dispatches"]) == (1, 1, 0)


async def test_simultaneous_requests_of_one_key_are_one_dispatch(simulator: SupplierSimulator, client: Client) -> None:
    simulator.change(latency=0.05)
    answers = await asyncio.gather(*(client.dispatch() for _ in range(10)))
    assert sorted(status for status, _ in answers) == [200] * 9 + [201]
    assert simulator.stats()["dispatches"] == 1


async def test_a_dispatched_key_with_another_body_is_a_conflict(client: Client) -> None:
    await client.dispatch()
    status, answer = await client.dispatch(destination="Paris")
    assert (status, answer["accepted"]) == (422, False)
    assert (await client.stats())["conflicts"] == 1


async def test_a_refused_order_may_come_again_corrected_under_the_same_key(
    simulator: SupplierSimulator, client: Client
) -> None:
    simulator.change(refusal_rate=1)
    assert (await client.dispatch())[0] == 422
    simulator.change(refusal_rate=0)
    assert (await client.dispatch(destination="Paris"))[0] == 201


async def test_without_idempotency_a_repetition_is_a_double_dispatch(
    simulator: SupplierSimulator, client: Client
) -> None:
    simulator.change(honour_idempotency=False)
    assert [(await client.dispatch())[0] for _ in range(2)] == [201, 201]
    stats = await client.stats()
    assert (stats["dispatches"], stats["distinct_dispatched_keys"], stats["double_dispatches"]) == (2, 1, 1)


async def test_a_client_that_invents_a_new_key_for_each_try_is_caught(client: Client) -> None:
    await client.dispatch(shipment_id="one")
    await client.dispatch(shipment_id="two")
    stats = await client.stats()
    assert (stats["distinct_dispatched_keys"], stats["distinct_dispatched_orders"]) == (2, 1)
    assert stats["double_dispatches"] == 1


async def test_a_failure_that_had_dispatched_is_no_double_dispatch_after_the_next_try(
    simulator: SupplierSimulator, client: Client
) -> None:
    simulator.behaviour = read_behaviour(
        {"dispatch_before_failure": True, "rules": [{"match": "A-*", "fail_first": 1}]}
    )
    assert [(await client.dispatch())[0] for _ in range(2)] == [500, 200]
    assert (simulator.stats()["dispatches"], simulator.stats()["double_dispatches"]) == (1, 0)


# --- the contract ---


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"drop": "destination"}, "destination must be a string that is not empty, and is missing"),
        ({"order_id": 7}, "order_id must be a string that is not empty, not 7"),
        ({"order_id": ""}, "order_id must be a string that is not empty, not ''"),
        ({"colour": "red"}, "the body has fields the contract does not know: colour"),
        (
            {"headers": {"Idempotency-Key": "else"}},
            "the header Idempotency-Key must be the shipment_id 's-A-1', not 'else'",
        ),
        ({"drop": "Idempotency-Key"}, "the header Idempotency-Key must be the shipment_id 's-A-1', not None"),
        ({"drop": "X-Trace-Id"}, "the header X-Trace-Id is missing or empty"),
        ({"drop": "traceparent"}, "the header traceparent is not a W3C trace context: None"),
        (
            {"headers": {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}},
            f"the header traceparent is not a W3C trace context: '00-{'0' * 32}-00f067aa0ba902b7-01'",
        ),
        (
            {"headers": {"Content-Type": "text/plain"}},
            "the Content-Type must be application/json, not 'text/plain'",
        ),
    ],
)
async def test_a_breach_of_the_contract_is_answered_and_counted_with_what_is_wrong(
    client: Client, mistake: dict[str, Any], sentence: str
) -> None:
    assert await client.dispatch(**mistake) == (400, {"error": sentence})
    stats = await client.stats()
    assert (stats["contract_breaches"], stats["last_contract_breaches"], stats["dispatches"]) == (1, [sentence], 0)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"order_id": "\\ud800"}'])
async def test_a_body_that_is_no_json_object_is_a_breach(client: Client, body: bytes) -> None:
    status, _ = await client.call("POST", "/dispatches", data=body, headers={"Content-Type": "application/json"})
    assert status == 400
    assert (await client.stats())["contract_breaches"] == 1


async def test_a_body_far_too_large_is_a_breach(client: Client) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await client.call("POST", "/dispatches", data=io.BytesIO(b" " * 2_000_000), headers=headers)
    assert answer == (400, {"error": "the body is far too large"})


async def test_a_breach_is_told_also_during_an_outage(simulator: SupplierSimulator, client: Client) -> None:
    simulator.change(outage=True)
    assert (await client.dispatch(drop="X-Trace-Id"))[0] == 400


# --- saying no, and not now ---


async def test_a_refusal_has_a_reason(simulator: SupplierSimulator, client: Client) -> None:
    reason = "the supplier does not serve this destination"
    simulator.change(rules=[{"match": "hard-*", "refuse": True}, {"match": "soft-*", "refuse_softly": True}])
    assert await client.dispatch("hard-1") == (422, {"accepted": False, "reason": reason})
    assert await client.dispatch("soft-1") == (200, {"accepted": False, "reason": reason})
    assert simulator.stats()["dispatches"] == 0


@pytest.mark.parametrize(
    "settings", [{"throttle_rate": 1}, {"outage": True}, {"rules": [{"match": "*", "status": 503}]}]
)
async def test_later_is_said_with_retry_after_in_seconds_or_as_a_date_or_not_at_all(
    simulator: SupplierSimulator, client: Client, settings: dict[str, object]
) -> None:
    async def retry_after(**more: object) -> str | None:
        simulator.behaviour = read_behaviour({**settings, **more})
        order = {"shipment_id": "s", "order_id": "A-1", "destination": "Berlin"}
        headers = {"Idempotency-Key": "s", "X-Trace-Id": "t", "traceparent": TRACEPARENT}
        async with aiohttp.request("POST", client.url + "/dispatches", json=order, headers=headers) as answer:
            assert answer.status in (429, 503)
            return answer.headers.get("Retry-After")

    assert await retry_after() == "1"
    assert await retry_after(retry_after=120) == "120"
    assert await retry_after(retry_after=None) is None
    before = time.time()
    date = await retry_after(retry_after=60, retry_after_as_date=True)
    assert date is not None
    assert before + 60 <= parsedate_to_datetime(date).timestamp() <= time.time() + 61


@pytest.mark.parametrize(("status", "dispatches"), [(202, 1), (204, 1), (302, 0), (304, 0), (408, 0), (599, 0)])
async def test_a_rule_can_demand_any_status(
    simulator: SupplierSimulator, client: Client, status: int, dispatches: int
) -> None:
    simulator.change(rules=[{"match": "*", "status": status}])
    assert (await client.dispatch())[0] == status
    assert simulator.stats()["dispatches"] == dispatches


async def test_an_outage_leaves_the_controls_working(client: Client) -> None:
    await client.call("PATCH", "/simulator/behaviour", json={"outage": True})
    assert (await client.dispatch())[0] == 503
    assert (await client.call("GET", "/healthz"))[0] == 200
    await client.call("PATCH", "/simulator/behaviour", json={"outage": False})
    assert (await client.dispatch())[0] == 201


# --- answering badly ---


@pytest.mark.parametrize("dispatched", [True, False])
async def test_a_timeout_hangs_until_the_client_gives_up(
    simulator: SupplierSimulator, client: Client, dispatched: bool
) -> None:
    simulator.change(timeout_rate=1, dispatch_before_timeout=dispatched)
    with pytest.raises(TimeoutError):
        await client.dispatch(timeout=0.2)
    await until(simulator, "in_flight", 0)
    assert simulator.stats()["requests_by_status"] == {"timeout": 1}
    assert len(simulator.dispatches("A-1")) == dispatched


async def test_a_reset_is_a_reset_and_no_orderly_close(simulator: SupplierSimulator) -> None:
    simulator.change(reset_rate=1)
    with pytest.raises(ConnectionResetError):
        await raw_answer(simulator)
    assert simulator.stats()["requests_by_status"] == {"reset": 1}


async def test_a_cut_answer_promises_more_than_it_sends(simulator: SupplierSimulator) -> None:
    simulator.change(cut_rate=1)
    head, _, body = (await raw_answer(simulator)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201 ")
    promised = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert 0 < len(body) < promised
    assert simulator.stats()["requests_by_status"] == {"cut": 1}
    assert simulator.stats()["dispatches"] == 1


@pytest.mark.parametrize("settings", [{"reset_rate": 1}, {"cut_rate": 1}])
async def test_a_client_sees_a_broken_answer_as_an_error(
    simulator: SupplierSimulator, client: Client, settings: dict[str, object]
) -> None:
    simulator.change(**settings)
    with pytest.raises(aiohttp.ClientError):
        await client.dispatch()
    await until(simulator, "in_flight", 0)


async def test_a_client_that_gives_up_during_the_latency_has_dispatched_and_is_counted_as_abandoned(
    simulator: SupplierSimulator, client: Client
) -> None:
    simulator.change(latency=30)
    with pytest.raises(TimeoutError):
        await client.dispatch(timeout=0.1)
    await until(simulator, "in_flight", 0)
    assert simulator.stats()["requests_by_status"] == {"abandoned": 1}
    assert len(simulator.dispatches("A-1")) == 1


async def test_latency_delays_the_answer(simulator: SupplierSimulator, client: Client) -> None:
    simulator.change(latency=0.1)
    began = time.monotonic()
    await client.dispatch()
    assert time.monotonic() - began >= 0.1


# --- looking at it, and changing it ---


async def test_the_counts_add_up_after_a_mixed_load(simulator: SupplierSimulator, client: Client) -> None:
    simulator.change(failure_rate=0.2, refusal_rate=0.2, throttle_rate=0.2, latency=0.02, seed=1)
    await asyncio.gather(*(client.dispatch(f"A-{number}") for number in range(60)))
    stats = await client.stats()
    assert set(stats["requests_by_status"]) == {"201", "422", "429", "500"}
    assert stats["requests"] == sum(stats["requests_by_status"].values()) == stats["distinct_idempotency_keys"] == 60
    assert stats["dispatches"] == stats["distinct_dispatched_keys"] == stats["requests_by_status"]["201"]
    assert (stats["in_flight"], stats["contract_breaches"]) == (0, 0)
    assert stats["max_in_flight"] > 1


async def test_recorded_requests_tell_what_came_and_what_was_answered(client: Client) -> None:
    before = time.time_ns() // 1_000_000
    await client.dispatch("A-1")
    await client.dispatch("A-2")
    _, found = await client.call("GET", "/simulator/requests?order_id=A-2")
    (request,) = found["requests"]
    assert before <= request.pop("time") <= time.time_ns() // 1_000_000
    assert request == {
        "order_id": "A-2",
        "shipment_id": "s-A-2",
        "idempotency_key": "s-A-2",
        "trace_id": "trace-1",
        "traceparent": TRACEPARENT,
        "answer": "201",
    }


async def test_a_limit_gives_the_last_requests_in_the_order_they_came(client: Client) -> None:
    for number in range(4):
        await client.dispatch(f"A-{number}")
    _, found = await client.call("GET", "/simulator/requests?limit=2")
    assert [request["order_id"] for request in found["requests"]] == ["A-2", "A-3"]
    assert (await client.call("GET", "/simulator/requests?limit=0"))[0] == 400


async def test_recorded_requests_are_bounded() -> None:
    simulator = SupplierSimulator(keep_requests=3)
    await simulator.start()
    async with aiohttp.ClientSession() as session:
        for number in range(5):
            await Client(simulator.url, session).dispatch(f"A-{number}")
    await simulator.stop()
    assert [request["order_id"] for request in simulator.requests()] == ["A-2", "A-3", "A-4"]


async def test_headers_in_no_known_encoding_do_not_break_the_record(
    simulator: SupplierSimulator, client: Client
) -> None:
    host, port = simulator.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /dispatches HTTP/1.1\r\nHost: s\r\nX-Trace-Id: \xff\xfe\r\nContent-Length: 0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()
    assert (await client.call("GET", "/simulator/requests"))[0] == 200


async def test_the_dispatches_of_an_order_can_be_looked_up(client: Client) -> None:
    await client.dispatch("A/1 ü")
    _, found = await client.call("GET", "/simulator/dispatches/A%2F1%20%C3%BC")
    assert found["order_id"] == "A/1 ü"
    assert [dispatch["dispatch_id"] for dispatch in found["dispatches"]] == ["D-00000001"]
    assert (await client.call("GET", "/simulator/dispatches/other"))[1]["dispatches"] == []


async def test_patch_changes_what_it_names_and_put_replaces_the_whole(client: Client) -> None:
    path = "/simulator/behaviour"
    await client.call("PATCH", path, json={"latency": 0.01, "rules": [{"match": "A-*", "refuse": True}]})
    status, patched = await client.call("PATCH", path, json={"seed": 5})
    assert (status, patched["latency"], patched["seed"], len(patched["rules"])) == (200, 0.01, 5, 1)
    assert (await client.call("GET", path))[1] == patched
    _, replaced = await client.call("PUT", path, json={"seed": 6})
    assert replaced == Behaviour(seed=6).model_dump(mode="json")


async def test_wrong_settings_change_nothing_and_are_explained(simulator: SupplierSimulator, client: Client) -> None:
    answer = await client.call("PATCH", "/simulator/behaviour", json={"seed": 1, "failur_rate": 1})
    assert answer == (422, {"error": "nothing changed: failur_rate: there is no such setting"})
    assert (await client.call("PUT", "/simulator/behaviour", json=[1]))[0] == 422
    assert (await client.call("PUT", "/simulator/behaviour", data=b"{"))[0] == 400
    with pytest.raises(WrongBehaviour):
        simulator.change(latency=-1)
    assert simulator.behaviour == Behaviour()


async def test_a_reset_forgets_counts_and_keys_but_not_the_behaviour(
    simulator: SupplierSimulator, client: Client
) -> None:
    simulator.change(seed=9)
    await client.dispatch()
    assert (await client.call("POST", "/simulator/reset"))[0] == 200
    assert (await client.stats())["requests"] == 0
    assert (await client.dispatch())[0] == 201
    assert simulator.behaviour.seed == 9


async def test_a_request_that_ends_after_a_reset_does_not_disturb_the_new_counts(
    simulator: SupplierSimulator, client: Client
) -> None:
    simulator.change(latency=0.2)
    waiting = asyncio.create_task(client.dispatch())
    await until(simulator, "in_flight", 1)
    simulator.reset()
    assert (await waiting)[0] == 201
    stats = simulator.stats()
    assert (stats["in_flight"], stats["requests"], stats["requests_by_status"]) == (0, 0, {})


# --- starting and stopping ---


async def test_stopping_does_not_wait_for_hanging_or_slow_requests(
    simulator: SupplierSimulator, client: Client
) -> None:
    rules = [{"match": "slow-*", "latency": 60}]
    simulator.change(timeout_rate=1, rules=rules)
    waiting = [asyncio.create_task(client.dispatch(f"{kind}-{n}")) for kind in ("slow", "hang") for n in range(5)]
    await until(simulator, "in_flight", 10)
    began = time.monotonic()
    await simulator.stop()
    assert time.monotonic() - began < 2
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, aiohttp.ClientError)
    assert simulator.stats()["in_flight"] == 0


async def test_a_port_in_use_is_told_in_one_clear_line(simulator: SupplierSimulator) -> None:
    port = int(simulator.url.rpartition(":")[2])
    with pytest.raises(CannotListen) as refused:
        await SupplierSimulator().start("127.0.0.1", port)
    assert str(refused.value) == f"the supplier simulator cannot listen on 127.0.0.1:{port}: address already in use"


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("no.such.host.invalid", 0), ("192.0.2.1", 0)])
async def test_an_impossible_address_is_told_as_well(host: str, port: int) -> None:
    with pytest.raises(CannotListen, match=f"cannot listen on {host}:{port}: ."):
        await SupplierSimulator().start(host, port)


async def test_it_can_be_stopped_and_started_again_on_its_port_with_its_memory(
    simulator: SupplierSimulator, client: Client
) -> None:
    await client.dispatch()
    port = int(simulator.url.rpartition(":")[2])
    await simulator.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = simulator.url
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.dispatch()
    assert await simulator.start(port=port) == port
    assert (await client.dispatch())[0] == 200


async def test_starting_twice_is_refused(simulator: SupplierSimulator) -> None:
    with pytest.raises(RuntimeError, match="already running"):
        await simulator.start()


async def test_listening_everywhere_its_url_is_one_that_can_be_called() -> None:
    simulator = SupplierSimulator()
    port = await simulator.start("0.0.0.0", 0)  # noqa: S104  what the test is about
    await simulator.stop()
    await simulator.start("0.0.0.0", port)  # noqa: S104
    assert simulator.url == f"http://127.0.0.1:{port}"
    await simulator.stop()


async def test_run_simulator_runs_until_cancelled() -> None:
    ready: asyncio.Future[SupplierSimulator] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run_simulator("127.0.0.1", 0, Behaviour(seed=4), on_ready=ready.set_result))
    simulator = await ready
    async with aiohttp.ClientSession() as session:
        assert (await Client(simulator.url, session).dispatch())[0] == 201
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(RuntimeError, match="not running"):
        _ = simulator.url
