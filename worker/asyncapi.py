"""The contract on RabbitMQ as an AsyncAPI 3 document, made from the models and from the topology."""

from typing import Any

from infra.rabbitmq.topology import (
    DEAD_LETTER_EXCHANGE,
    DEAD_LETTER_QUEUE,
    DELIVERED_KEY,
    DELIVERED_QUEUE,
    ORDERS_EXCHANGE,
    PLACED_KEY,
    RETRY_EXCHANGE,
    SHIPMENTS_EXCHANGE,
    SHIPMENTS_RETRY_EXCHANGE,
    WORK_QUEUE,
    Exchange,
    Queue,
    Topology,
    retry_queue,
)
from worker.header_schemas import dead_letter_headers, published_headers, replayed_headers, returned_headers
from worker.notice_schema import notice_schema
from worker.order_schema import order_schema

_BINDING = {"bindingVersion": "0.3.0"}
_DESCRIPTION = """\
Orders go in on the exchange 'orders', delivery notices on 'shipments'. What fails comes back through a delay queue;
what cannot succeed is a dead letter. Everything is persistent and mandatory, and a message counts when the broker has
confirmed it: use publisher confirms, and a fresh message id for every publish. To publish an order again is safe."""

_ORDER, _NOTICE = ("order", "replayedOrder"), ("deliveryNotice", "replayedNotice")
_PUBLISHED = {
    ORDERS_EXCHANGE: (PLACED_KEY, _ORDER),
    SHIPMENTS_EXCHANGE: (DELIVERED_KEY, _NOTICE),
    RETRY_EXCHANGE: ("{delay}", ("returnedOrder",)),
    SHIPMENTS_RETRY_EXCHANGE: ("{delay}", ("returnedNotice",)),
    DEAD_LETTER_EXCHANGE: ("", ("deadLetter",)),
}
"""By exchange: the routing key that messages are published with, and which messages those are."""


def asyncapi_document(topology: Topology, *, version: str) -> dict[str, Any]:
    """Return the document, for the program's version and the delays that the topology has."""
    order = {name: value for name, value in order_schema().items() if name != "$schema"}  # AsyncAPI names its own
    channels = {exchange.name: _exchange_channel(exchange, topology) for exchange in topology.exchanges}
    channels.update({queue.name: _queue_channel(queue, topology) for queue in topology.queues})
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Orders and shipments", "version": version, "description": _DESCRIPTION.replace("\n", " ")},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": _operations(channels),
        "components": {"messages": _messages(), "schemas": {"Order": order, "DeliveryNotice": notice_schema()}},
    }


def _exchange_channel(exchange: Exchange, topology: Topology) -> dict[str, Any]:
    key, messages = _PUBLISHED[exchange.name]
    binding = {"name": exchange.name, "type": exchange.kind, "durable": True, "autoDelete": False}
    channel = {
        "address": key,
        "title": f"The exchange {exchange.name}",
        "messages": _references(messages),
        "bindings": {"amqp": {"is": "routingKey", "exchange": binding, **_BINDING}},
    }
    if "{delay}" in key:
        channel["parameters"] = {
            "delay": {"description": "For how long the message waits.", "enum": list(topology.delay_labels)}
        }
    return channel


def _queue_channel(queue: Queue, topology: Topology) -> dict[str, Any]:
    binding = {"name": queue.name, "durable": True, "exclusive": False, "autoDelete": False}
    return {
        "address": queue.name,
        "title": f"The queue {queue.name}",
        "messages": _references(_messages_in(queue.name, topology)),
        "bindings": {"amqp": {"is": "queue", "queue": binding, **_BINDING, "x-arguments": queue.arguments}},
        "x-bound-to": [{"exchange": exchange, "routingKey": key} for exchange, key in queue.bindings],
    }


def _messages_in(queue: str, topology: Topology) -> tuple[str, ...]:
    delayed_orders = {retry_queue(label) for label in topology.delay_labels}
    of_queue = {
        WORK_QUEUE: (*_ORDER, "returnedOrder"),
        DELIVERED_QUEUE: (*_NOTICE, "returnedNotice"),
        DEAD_LETTER_QUEUE: ("deadLetter",),
    }
    return of_queue.get(queue, ("returnedOrder",) if queue in delayed_orders else ("returnedNotice",))


def _operations(channels: dict[str, dict[str, Any]]) -> dict[str, Any]:
    receive, send = {"ack": True}, {"deliveryMode": 2, "mandatory": True}
    return {
        name: {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": summary,
            "messages": [
                {"$ref": f"#/channels/{channel}/messages/{message}"} for message in channels[channel]["messages"]
            ],
            "bindings": {"amqp": {**(receive if action == "receive" else send), **_BINDING}},
        }
        for name, action, channel, summary in (
            ("takeOrders", "receive", WORK_QUEUE, "A worker takes orders and ships them."),
            ("takeNotices", "receive", DELIVERED_QUEUE, "A worker takes delivery notices."),
            ("takeDeadLetters", "receive", DEAD_LETTER_QUEUE, "A worker files dead letters in the store."),
            ("returnOrders", "send", RETRY_EXCHANGE, "A failed try, or an open circuit: the order comes back later."),
            ("returnNotices", "send", SHIPMENTS_RETRY_EXCHANGE, "The order is not shipped yet: the notice comes back."),
            ("giveUp", "send", DEAD_LETTER_EXCHANGE, "What cannot succeed."),
            ("replayOrders", "send", ORDERS_EXCHANGE, "A dead letter's order goes out again."),
            ("replayNotices", "send", SHIPMENTS_EXCHANGE, "A dead letter's delivery notice goes out again."),
        )
    }


def _messages() -> dict[str, Any]:
    order, notice = {"$ref": "#/components/schemas/Order"}, {"$ref": "#/components/schemas/DeliveryNotice"}
    anything = {"description": "The body as it was published, byte for byte: an order, a notice, or neither."}
    return {
        name: {"name": name, "title": title, "contentType": "application/json", "headers": headers, "payload": payload}
        for name, title, headers, payload in (
            ("order", "An order, as it is published", published_headers(is_notice=False), order),
            ("replayedOrder", "An order that goes out again", replayed_headers(), order),
            ("returnedOrder", "An order that comes back", returned_headers(is_notice=False), order),
            ("deliveryNotice", "A delivery notice, as it is published", published_headers(is_notice=True), notice),
            ("replayedNotice", "A delivery notice that goes out again", replayed_headers(), notice),
            ("returnedNotice", "A delivery notice that comes back", returned_headers(is_notice=True), notice),
            ("deadLetter", "A message that was given up", dead_letter_headers(), anything),
        )
    }


def _references(messages: tuple[str, ...]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
