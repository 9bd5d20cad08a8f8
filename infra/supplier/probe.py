"""Whether anybody answers at the supplier's address."""

import aiohttp

from infra.supplier.address import SupplierAddress
from infra.tls import NO_FILES, TlsFiles, questioned
from worker.domain.errors import SupplierUnavailableError


async def probe_supplier(url: str, *, timeout: float, tls: TlsFiles = NO_FILES) -> int:
    """Return the HTTP status of a GET of the address itself; nothing is dispatched, redirects are not followed.

    `timeout`: seconds in all. Raises SupplierUnavailableError, and ConfigurationError for an address or a file in
    `tls` that cannot be used; no message repeats the address.
    """
    address = SupplierAddress.read(url, tls)
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=timeout),
                connector=aiohttp.TCPConnector(ssl=address.tls or True),
                headers=address.headers,
            ) as session,
            session.get(address.url, allow_redirects=False) as response,
        ):
            return response.status
    except TimeoutError as error:
        raise SupplierUnavailableError(f"no answer within {timeout:g} s") from error
    except aiohttp.ClientError as error:
        text = address.scrubbed(questioned(str(error))) or type(error).__name__
        raise SupplierUnavailableError(text) from None  # it quotes an answer that is no HTTP as it came
