"""Settings that hold a secret, given as the name of a file: what is in a file is in no process list and no listing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "LOGISTICS_"
SECRETS = ("amqp_url", "mongodb_uri", "supplier_url")
"""The settings that may hold a password; each may be given by a variable that ends in _FILE."""

_SUFFIX = "_FILE"
_LONGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """An environment with the contents of its files in the place of their names."""

    environment: Mapping[str, str]
    problems: Mapping[str, str]
    """By variable, what is wrong with a file; never its name or content, as a secret may be in the wrong variable."""
    read: frozenset[str]
    """The settings that came from a file."""


def file_variable(name: str) -> str:
    """Return the variable that names the file of a setting."""
    return f"{PREFIX}{name.upper()}{_SUFFIX}"


def read_secret_files(environment: Mapping[str, str]) -> SecretFiles:
    """Read the file of each setting that is given by one. A trailing line break is not part of the secret."""
    result, problems, read = dict(environment), {}, set()
    for name in SECRETS:
        direct, by_file = f"{PREFIX}{name.upper()}", file_variable(name)
        path = result.pop(by_file, "").strip()
        if not path:
            continue
        if result.get(direct, "").strip():
            problems[by_file] = f"is set, and so is {direct}: set one of them"
            continue
        try:
            result[direct] = _one_line(path)
            read.add(name)
        except OSError as error:
            problems[by_file] = f"the file cannot be read: {error.strerror}"
        except ValueError as error:
            problems[by_file] = str(error)
    return SecretFiles(result, problems, frozenset(read))


def _one_line(path: str) -> str:
    """Return what is in the file. Raises OSError, and ValueError when it is not one line of text."""
    with Path(path).open("rb") as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise ValueError(f"the file has more than {_LONGEST} bytes")
    try:
        text = data.decode("utf-8-sig").strip()  # some editors begin a file with a byte order mark
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text") from None
    if not text:
        raise ValueError("the file is empty")
    if len(text.splitlines()) > 1:
        raise ValueError("the file has more than one line")
    return text
