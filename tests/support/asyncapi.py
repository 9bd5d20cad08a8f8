"""Reading an AsyncAPI document as a client would: what may go through a channel, and whether a message may."""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]


def resolved(document: Mapping[str, Any], reference: str) -> Any:
    """The part of the document that a `#/…` reference names."""
    part: Any = document
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part


def faults_of(document: Mapping[str, Any], channel: str, headers: Mapping[str, object], body: bytes) -> list[str]:
    """What keeps a message from being one of those of a channel, by the one it comes closest to; nothing is good."""
    messages = [resolved(document, message["$ref"]) for message in document["channels"][channel]["messages"].values()]
    return min((_faults(document, message, headers, body) for message in messages), key=len)


def _faults(
    document: Mapping[str, Any], message: Mapping[str, Any], headers: Mapping[str, object], body: bytes
) -> list[str]:
    payload = message["payload"]
    checks: list[tuple[Mapping[str, Any], object]] = [(message["headers"], headers)]
    if "$ref" in payload:
        checks.append((resolved(document, payload["$ref"]), json.loads(body)))
    return [
        error.message
        for schema, instance in checks
        for error in jsonschema.Draft7Validator(schema).iter_errors(instance)
    ]
