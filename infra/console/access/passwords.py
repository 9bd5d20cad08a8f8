"""Passwords and tokens as the users file keeps them: neither can be read back."""

import base64
import hashlib
import hmac
import secrets

MIN_LENGTH = 12
"""Characters a password has at least."""

_N, _R, _P = 2**15, 8, 3  # 32 MiB and about a quarter of a second a try
_LENGTH = 32
_MAX_MEMORY = 2**31 - 1  # what the library may use for the largest hash that `check_kept` lets pass
_PASSWORD, _TOKEN = "scrypt", "sha256"
BY_PROXY = "proxy"
"""In the place of a secret: this user signs in to a proxy, never here."""


def hash_password(password: str) -> str:
    """Return what the users file keeps of a password; takes about a quarter of a second and 32 MiB."""
    salt = secrets.token_bytes(16)
    return f"{_PASSWORD}:{_N}:{_R}:{_P}:{_text(salt)}:{_text(_scrypt(password, salt, _N, _R, _P))}"


def password_fits(password: str, kept: str) -> bool:
    """Whether `kept` was made of this password; takes as long when it is no password's hash at all."""
    name, *rest = kept.split(":")
    if name != _PASSWORD:
        password_fits(password, _NOBODYS)
        return False
    n, r, p, salt, digest = rest
    return hmac.compare_digest(_scrypt(password, _bytes(salt), int(n), int(r), int(p)), _bytes(digest))


def new_token() -> str:
    """Return a token that nobody guesses: 256 random bits."""
    return f"lgc_{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> str:
    """Return what the users file keeps of a token; quick, as nothing needs to make guesses of 256 bits slow."""
    return f"{_TOKEN}:{hashlib.sha256(token.encode('utf-8', 'surrogateescape')).hexdigest()}"


def check_kept(kept: str) -> None:
    """Raise ValueError for what cannot stand in the users file in the place of a secret."""
    name, *rest = kept.split(":")
    if kept == BY_PROXY or (name == _TOKEN and len(rest) == 1 and len(bytes.fromhex(rest[0])) == _LENGTH):
        return
    if name != _PASSWORD or len(rest) != 5:
        raise ValueError("no hash of a password or token")
    n, r, p = (int(number) for number in rest[:3])
    is_costly_enough = 2**14 <= n <= 2**20 and n & (n - 1) == 0 and r == _R and 1 <= p <= 16
    if not is_costly_enough or not _bytes(rest[3]) or len(_bytes(rest[4])) != _LENGTH:
        raise ValueError("no hash that 'logistics console add-user' made")


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=_LENGTH)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


_NOBODYS = f"{_PASSWORD}:{_N}:{_R}:{_P}:{_text(bytes(16))}:{_text(bytes(32))}"
