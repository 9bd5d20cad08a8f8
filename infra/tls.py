"""TLS towards the outside systems: the files it needs, and what its failures mean."""

import ssl
from pathlib import Path
from typing import NamedTuple

from worker.domain.errors import ConfigurationError

_MEANINGS = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted",
    "ALERT_CERTIFICATE_REQUIRED": "it asks for a client certificate, and was sent none",
    "ALERT_UNKNOWN_CA": "it does not trust our client certificate",
    "ALERT_BAD_CERTIFICATE": "it does not accept our client certificate, or was sent none",
    "ALERT_CERTIFICATE_EXPIRED": "our client certificate has expired",
    "WRONG_VERSION_NUMBER": "it does not speak TLS at this port",
}
"""By a part of OpenSSL's own name of the failure."""
_BY_THE_OTHER_SIDE = ("reset by peer", "connection closed", "Server disconnected")
QUESTION = "(does it want TLS, or another client certificate?)"
"""What to ask about a server that closes a connection at once: it may have done so before its alert was read."""
_VERIFY_REASON = "certificate verify failed: "


class TlsFiles(NamedTuple):
    """The paths of PEM files: whom to trust instead of the system's authorities, and who we are.

    The key may be in the certificate's file, too; it must not be encrypted.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


NO_FILES = TlsFiles()
"""The system's authorities, and no certificate of our own."""


def client_context(files: TlsFiles, *, names: TlsFiles) -> ssl.SSLContext:
    """Return what a client needs to open TLS connections: it verifies the server's certificate and name.

    `names`: what a complaint calls each file. Raises ConfigurationError, one line that does not repeat a path.
    """
    for path, name in zip(files, names, strict=True):
        if path is not None:
            _check_readable(path, name)
    try:
        context = ssl.create_default_context(cafile=files.ca)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{names.ca}: the file holds no certificate in PEM format") from error
    if files.cert is None:
        if files.key is not None:
            raise ConfigurationError(f"{names.key} needs {names.cert}: a key alone proves nothing")
        return context
    try:
        # Without a password, OpenSSL would ask for that of an encrypted key on the terminal, and wait.
        context.load_cert_chain(files.cert, files.key, password="")
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{names.cert}: certificate and key cannot be used ({_reason(error)}): they must belong together, "
            "in PEM format, the key not encrypted"
        ) from error
    return context


def explained(text: str) -> str:
    """Return an error's text, or what it means where it tells of a TLS failure."""
    for name, meaning in _MEANINGS.items():
        if name in text:
            _, found, reason = text.partition(_VERIFY_REASON)
            return f"TLS: {meaning}{': ' + reason.partition(' (_ssl')[0] if found else ''}"
    return text


def questioned(text: str) -> str:
    """Return an error's text as `explained` does, with the question where the other side closed a new connection."""
    text = explained(text)
    return f"{text} {QUESTION}" if any(words in text for words in _BY_THE_OTHER_SIDE) else text


def _check_readable(path: str, name: str | None) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigurationError(f"{name}: the file cannot be read: {error.strerror}") from error


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "no reason given").lower().replace("_", " ")
