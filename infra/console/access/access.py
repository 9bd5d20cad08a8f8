"""Who is let in, as the settings say it; a console that would let everybody in does not start."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from infra.console.access.doors import Doors
from infra.console.access.proxies import Proxies
from infra.console.access.roles import Person, Role
from infra.console.access.sessions import Sessions
from infra.console.access.sign_in import SignIn
from infra.console.access.site import Site
from infra.console.access.throttle import Throttle
from infra.console.access.users import UsersFile
from worker.console_settings import is_loopback
from worker.domain.errors import ConfigurationError
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Access:
    """Everything about being let in."""

    doors: Doors
    site: Site
    sign_in: SignIn | None
    """None: nobody has a password here."""
    cookie: str
    """The name of the cookie that holds a session's secret."""
    is_https: bool


def access_of(settings: Settings, *, operator: str) -> Access:
    """Return what the settings ask for; `operator`: who everybody is on a console that asks nobody.

    Raises ConfigurationError when the console could be reached from elsewhere and would ask nobody, and for a users
    file that is wrong.
    """
    _check_pairs(settings)
    _check_reach(settings)
    is_https = (settings.console_public_url or "").startswith("https:") or settings.console_cert_file is not None
    cookie = "__Host-logistics" if is_https else "logistics"  # the prefix: no other host and no plain page may set it
    users = None if settings.console_users_file is None else UsersFile(Path(settings.console_users_file))
    sessions = Sessions(idle=settings.console_idle, longest=settings.console_session)
    asks_nobody = not _asks(settings)
    return Access(
        doors=Doors(
            sessions=sessions,
            cookie=cookie,
            users=users,
            proxies=Proxies(
                settings.console_trusted_proxies, settings.console_user_header, settings.console_role_header
            ),
            at_home=Person(operator, Role.ADMIN) if asks_nobody else None,
            longest=settings.console_session,
        ),
        site=Site(settings.console_public_url, scheme="https" if is_https else "http", asks_nobody=asks_nobody),
        sign_in=None if users is None else SignIn(users=users, sessions=sessions, throttle=Throttle()),
        cookie=cookie,
        is_https=is_https,
    )


def _asks(settings: Settings) -> bool:
    return settings.console_users_file is not None or settings.console_user_header is not None


def _check_pairs(settings: Settings) -> None:
    """Refuse settings that do not go together."""
    if settings.console_user_header is not None and not settings.console_trusted_proxies:
        raise ConfigurationError(
            "LOGISTICS_CONSOLE_USER_HEADER is believed from a trusted proxy alone: name its address in "
            "LOGISTICS_CONSOLE_TRUSTED_PROXIES"
        )
    if settings.console_role_header is not None and settings.console_user_header is None:
        raise ConfigurationError("LOGISTICS_CONSOLE_ROLE_HEADER goes with LOGISTICS_CONSOLE_USER_HEADER: set that, too")
    if settings.console_key_file is not None and settings.console_cert_file is None:
        raise ConfigurationError("LOGISTICS_CONSOLE_KEY_FILE goes with LOGISTICS_CONSOLE_CERT_FILE: set that, too")
    if settings.console_cert_file is not None and (settings.console_public_url or "").startswith("http:"):
        raise ConfigurationError(
            "with LOGISTICS_CONSOLE_CERT_FILE the console speaks TLS: LOGISTICS_CONSOLE_PUBLIC_URL begins with https://"
        )


def _check_reach(settings: Settings) -> None:
    """Refuse what would let everybody in."""
    address, public = settings.console_addr, settings.console_public_url
    reached = next((where for where in (address, public) if where is not None and not _is_here(where)), None)
    if reached is not None and not _asks(settings):
        raise ConfigurationError(
            f"the console would ask nobody who they are at {reached}: set LOGISTICS_CONSOLE_USERS_FILE "
            "('logistics console add-user NAME --role admin --file users' makes one), or for a proxy that signs people "
            "in LOGISTICS_CONSOLE_USER_HEADER; or let it listen on 127.0.0.1 alone"
        )
    if reached is not None and public is None:
        raise ConfigurationError(
            "LOGISTICS_CONSOLE_PUBLIC_URL is not set: say how browsers reach the console (https://console.example); "
            "by that it tells its own pages from foreign ones"
        )


def _is_here(address: str) -> bool:
    """Whether an address, with or without a scheme, is this machine's own."""
    return is_loopback(urlsplit(address if "://" in address else f"//{address}").hostname or "")
