"""Whether anybody answers at the supplier's address."""

import aiohttp

from worker.domain.errors import SupplierUnavailableError


async def probe_supplier(url: str, *, timeout: float) -> int:
    """Return the HTTP status of a GET of the address itself; nothing is dispatched, redirects are not followed.

    `timeout`: seconds in all. Raises SupplierUnavailableError, whose message never repeats the address.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            return response.status
    except TimeoutError as error:
        raise SupplierUnavailableError(f"no answer within {timeout:g} s") from error
    except aiohttp.InvalidURL as error:  # its text is the address, with the password in it
        raise SupplierUnavailableError("the address is no URL that HTTP could use") from error
    except aiohttp.ClientError as error:
        raise SupplierUnavailableError(str(error) or type(error).__name__) from error
