"""Real certificates for a test: an authority of its own, and what it has signed."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    cert: Path
    key: Path

    @property
    def both(self) -> Path:
        """One file with certificate and key, as MongoDB wants it."""
        combined = self.cert.with_suffix(".both")
        if not combined.exists():
            combined.write_bytes(self.cert.read_bytes() + self.key.read_bytes())
        return combined

    def encrypted(self) -> Path:
        """The key, encrypted with a password."""
        locked = self.key.with_suffix(".locked")
        command = ["openssl", "pkey", "-in", str(self.key), "-aes256", "-passout", "pass:made-up", "-out", str(locked)]
        subprocess.run(command, check=True, capture_output=True)
        return locked


class Authority:
    """A certificate authority in a folder. It signs for 127.0.0.1 and localhost, for servers and for clients."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name = folder, name
        own = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl(own, name, "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self._own = own

    @property
    def file(self) -> Path:
        """What whoever trusts this authority is given."""
        return self._own.cert

    def sign(self, name: str) -> Certificate:
        """Make a key and a certificate for it."""
        made = Certificate(self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key")
        _openssl(
            made,
            name,
            *("-CA", str(self._own.cert), "-CAkey", str(self._own.key)),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        )
        return made


def _openssl(certificate: Certificate, name: str, *options: str) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
            *("-subj", f"/O=Logistics test/CN={name}", "-days", "2"),
            *("-out", str(certificate.cert), "-keyout", str(certificate.key)),
            *options,
        ],
        check=True,
        capture_output=True,
    )
