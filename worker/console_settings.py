"""The settings of `logistics console`: where it listens, and whom it lets in."""

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from worker.setting_types import Address, Seconds


def _to_texts(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _are_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ValueError("write addresses and networks, such as 10.0.0.7,10.1.0.0/16,::1") from None
    return value


def _is_origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"} or parts.query:
        raise ValueError("write it as people type it, without a path: https://console.example")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("it begins with https:// unless it is this machine's own: passwords would travel readable")
    if parts.port is None and parts.netloc.endswith(":"):
        raise ValueError("a port follows the colon, or leave the colon out")
    # As browsers write it in Origin: without the port that goes without saying.
    return value.rstrip("/").lower().removesuffix(":443" if parts.scheme == "https" else ":80")


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine reaches a host of this name or address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class ConsoleSettings(BaseModel):
    """The part of the settings that the console alone reads."""

    console_addr: Annotated[
        Address, Field(description="host:port of the console; anything but loopback needs sign-in")
    ] = "127.0.0.1:8080"
    console_public_url: Annotated[
        str | None,
        AfterValidator(lambda value: None if value is None else _is_origin(value)),
        Field(description="how browsers reach the console: https://console.example"),
    ] = None
    console_cert_file: Annotated[
        str | None, Field(description="PEM file: the console's certificate, when it serves https:// itself")
    ] = None
    console_key_file: Annotated[
        str | None, Field(description="PEM file: the key of that certificate, when it is in a file of its own")
    ] = None
    console_users_file: Annotated[
        str | None, Field(description="who may sign in to the console; 'logistics console add-user' writes it")
    ] = None
    console_trusted_proxies: Annotated[
        tuple[str, ...],
        BeforeValidator(_to_texts),
        AfterValidator(_are_networks),
        Field(description="addresses and networks of the proxies in front of the console that are believed"),
    ] = ()
    console_user_header: Annotated[
        str | None, Field(description="the header in which a trusted proxy names who has signed in to it")
    ] = None
    console_role_header: Annotated[
        str | None, Field(description="the header in which it says reader, operator or admin")
    ] = None
    console_idle: Annotated[Seconds, Field(description="a sign-in ends when no page of it was open for this long")] = (
        1800.0
    )
    console_session: Annotated[Seconds, Field(description="a sign-in ends after this long in any case")] = 43200.0
