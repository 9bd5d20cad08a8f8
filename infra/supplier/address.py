"""The supplier's address, its secrets apart: what is in no URL cannot be printed with one."""

import base64
import json
import ssl
from dataclasses import dataclass, field

from yarl import URL

from infra.tls import NO_FILES, TlsFiles, client_context
from worker.domain.errors import ConfigurationError

_NAMES = TlsFiles(
    ca="LOGISTICS_SUPPLIER_CA_FILE", cert="LOGISTICS_SUPPLIER_CERT_FILE", key="LOGISTICS_SUPPLIER_KEY_FILE"
)


@dataclass(frozen=True, slots=True)
class SupplierAddress:
    """Where the supplier is and how to be let in."""

    url: URL
    """Without user and password."""
    headers: dict[str, str] = field(repr=False)
    """The user and password as basic authentication (RFC 7617), when there are any."""
    tls: ssl.SSLContext | None
    """None where the default is right: the system's authorities, no client certificate."""
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def read(cls, url: str, files: TlsFiles = NO_FILES) -> "SupplierAddress":
        """Take an address apart and read its TLS files. Raises ConfigurationError, which never repeats the address."""
        address = _url(url)
        user, password = address.user or "", address.password or ""
        headers: dict[str, str] = {}
        secrets: tuple[str, ...] = ()
        if user or password:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers = {"Authorization": f"Basic {token}"}
            # A token often stands where the user does, without a password.
            secrets = spellings(token, password or user, address.raw_password or address.raw_user or "")
        return cls(address.with_user(None), headers, _context(address, files), secrets)

    def scrubbed(self, text: str) -> str:
        """Return a text without our password or token: an error page may repeat the whole request."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def spellings(*hidden: str) -> tuple[str, ...]:
    """Return what must not be told, as a text or a JSON document may spell it, the longest first."""
    escaped = [json.dumps(text, ensure_ascii=ascii_only)[1:-1] for text in hidden for ascii_only in (True, False)]
    slashed = [spelling.replace("/", "\\/") for spelling in escaped]  # some encoders escape it, too
    return tuple(sorted({*hidden, *escaped, *slashed} - {""}, key=len, reverse=True))


def _url(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        raise ConfigurationError("LOGISTICS_SUPPLIER_URL is no address that HTTP could use") from None
    if not url.host:
        raise ConfigurationError("LOGISTICS_SUPPLIER_URL names no host")
    if url.query_string or url.fragment:
        raise ConfigurationError(
            "LOGISTICS_SUPPLIER_URL has a part after ? or #: orders go to {url}/dispatches, so it must end before that"
        )
    return url


def _context(url: URL, files: TlsFiles) -> ssl.SSLContext | None:
    given = [name for path, name in zip(files, _NAMES, strict=True) if path is not None]
    if not given:
        return None
    if url.scheme != "https":
        raise ConfigurationError(f"{given[0]} is set, but LOGISTICS_SUPPLIER_URL does not begin with https://")
    return client_context(files, names=_NAMES)
