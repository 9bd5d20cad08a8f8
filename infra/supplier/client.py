"""The supplier over HTTP."""

import html
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from infra.supplier.address import SupplierAddress, spellings
from infra.supplier.breaker import CircuitBreaker, resilient
from infra.tls import NO_FILES, TlsFiles, questioned
from worker.domain.core import utc_now
from worker.domain.errors import SupplierOutcomeUnknownError, SupplierRejectedError, SupplierUnavailableError
from worker.domain.shipment import Shipment
from worker.domain.trace import TraceContext, trace_context_ctx, trace_id_ctx
from worker.domain.tracing import NO_TRACING, ISpan, ITracing

_LATER = frozenset({429, 503})
_UNKNOWN = frozenset({408, 425})
_MAX_ANSWER = 64 * 1024
_LONGEST_WORDS = 300
_SHORTEST_HIDDEN = 3


class HttpSupplier:
    """`ISupplierAPI` on `POST {url}/dispatches`, every call through the circuit.

    The answer is read whole before it counts: one cut in the middle is an unknown outcome.
    """

    def __init__(
        self,
        url: str,
        *,
        circuit: CircuitBreaker,
        timeout: float,
        connections: int,
        tls: TlsFiles = NO_FILES,
        on_answer: Callable[[str, float], None] = lambda *_: None,
        tracing: ITracing = NO_TRACING,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`timeout`: seconds for one request in all. `connections`: how many requests may be under way. A user and
        password in the URL become basic authentication. `on_answer`: told of every request what it came to
        (`accepted`, `refused`, `unavailable`, `unknown`) and how many seconds it took. Raises ConfigurationError for
        an address or a file in `tls` that cannot be used."""
        self._address = SupplierAddress.read(url, tls)
        self._url = self._address.url.with_path(f"{self._address.url.raw_path.rstrip('/')}/dispatches", encoded=True)
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._connections = connections
        self._on_answer = on_answer
        self._tracing = tracing
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._guarded = resilient(circuit)(self._ask)

    async def request_dispatch(self, shipment: Shipment) -> bool:
        """Ask the supplier to dispatch the shipment."""
        return await self._guarded(shipment)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, shipment: Shipment) -> bool:
        started, answer = time.monotonic(), "unknown"
        try:
            with self._tracing.request("POST", str(self._url)) as span:
                accepted = await self._post(shipment, span)
            answer = "accepted"
        except SupplierRejectedError:
            answer = "refused"
            raise
        except SupplierUnavailableError:
            answer = "unavailable"
            raise
        finally:
            self._on_answer(answer, time.monotonic() - started)
        return accepted

    async def _post(self, shipment: Shipment, span: ISpan) -> bool:
        body = {"shipment_id": shipment.id, "order_id": shipment.order_id, "destination": shipment.destination}
        try:
            async with self._open_session().post(
                self._url,
                data=json.dumps(body).encode(),
                headers={**self._address.headers, **_headers(shipment, span.traceparent)},
                allow_redirects=False,
                timeout=self._timeout,
            ) as response:
                span.answered(response.status)
                return self._judge(
                    shipment, response.status, response.headers.get("Retry-After"), await _read(response)
                )
        except TimeoutError as error:
            raise SupplierOutcomeUnknownError(f"no answer within {self._timeout.total:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise SupplierOutcomeUnknownError(f"no connection: {self._words(error, shipment)}") from error
        except aiohttp.ClientError as error:
            # Not "from error": it quotes an answer that is no HTTP as it came, and that may repeat our request.
            raise SupplierOutcomeUnknownError(f"connection broke: {self._words(error, shipment)}") from None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, ssl=self._address.tls or True),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _words(self, error: aiohttp.ClientError, shipment: Shipment) -> str:
        """Return what went wrong; an answer that is no HTTP is quoted in the error, in the supplier's words."""
        text = questioned(str(error)) if self._url.scheme == "https" else str(error)
        return self._told(text, shipment) or type(error).__name__

    def _told(self, text: str, shipment: Shipment) -> str:
        """Return the beginning of the supplier's words, without our password and without where the order goes.

        They are stored, logged and shown to people who may not see a destination. Only what is told goes without
        them: taken out of the answer itself, a short one could turn a no into a yes.
        """
        return _printable(_without(shipment.destination, self._address.scrubbed(text)))

    def _judge(self, shipment: Shipment, status: int, retry_after: str | None, answer: bytes) -> bool:
        """Return True for a yes, raise what else the answer means."""
        if 200 <= status < 300:
            reason = _refusal(answer)
            if reason is not None:
                raise SupplierRejectedError(f"HTTP {status}, not accepted: {self._told(reason, shipment)}")
            return True
        told = f"HTTP {status}: {self._told(answer.decode('utf-8', 'replace'), shipment) or '(empty answer)'}"
        if status in _LATER:
            raise SupplierUnavailableError(told, retry_after=parse_retry_after(retry_after, now=self._clock()))
        if 400 <= status < 500 and status not in _UNKNOWN:
            raise SupplierRejectedError(told)
        raise SupplierOutcomeUnknownError(told)


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds a Retry-After asks for, given as seconds or as a date (RFC 9110, 10.2.3).

    None when it is absent or makes no sense; 0 for a date in the past.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:10])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max((at - now).total_seconds(), 0.0)


def _headers(shipment: Shipment, traceparent: str | None) -> dict[str, str]:
    trace = trace_context_ctx.get() or TraceContext.from_headers({"trace_id": shipment.trace_id}, seed=shipment.id)
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": shipment.id,
        "X-Trace-Id": trace_id_ctx.get() or shipment.trace_id,
        "traceparent": traceparent or trace.child_traceparent(),
    }
    if trace.tracestate is not None:
        headers["tracestate"] = trace.tracestate
    return headers


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the answer's first 64 kB; read on to its end, so that a cut one is noticed."""
    answer = b""
    async for chunk in response.content.iter_chunked(_MAX_ANSWER):
        answer = (answer + chunk)[:_MAX_ANSWER]
    return answer


def _refusal(answer: bytes) -> str | None:
    """Return the reason of a `{"accepted": false}`, None for any other answer."""
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return None  # a 2xx is a yes, whatever it says
    if isinstance(document, dict) and document.get("accepted") is False:
        return str(document.get("reason", "no reason given"))
    return None


def _without(destination: str, text: str) -> str:
    """Return the text without the destination, where that is there in whole words and long enough to tell anything."""
    if len(destination) < _SHORTEST_HIDDEN:
        return text
    for spelling in spellings(destination, html.escape(destination)):
        text = re.sub(rf"(?<!\w){re.escape(spelling)}(?!\w)", "(destination)", text, flags=re.IGNORECASE)
    return text


def _printable(text: str) -> str:
    """Return the supplier's words as a log line, a header and a document can hold them (JSON can spell half a pair)."""
    return "".join(character if character.isprintable() else " " for character in text[:_LONGEST_WORDS]).strip()
