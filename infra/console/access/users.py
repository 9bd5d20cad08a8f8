"""The users file: a line a user, `name role hash`; read again whenever it has changed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.console.access.passwords import check_kept
from infra.console.access.roles import Role
from worker.domain.errors import ConfigurationError
from worker.domain.log import StructuredLogger

MAX_NAME = 100
"""Characters of a name, at most."""
_FIELDS = 3

_log = StructuredLogger("logistics.console")


@dataclass(frozen=True, slots=True)
class User:
    """One line of the file."""

    name: str
    role: Role
    kept: str
    """The hash of a password or of a token, or that a proxy vouches for this user."""

    @property
    def line(self) -> str:
        """The line, without its end."""
        return f"{self.name} {self.role} {self.kept}"


def read_users(text: str) -> dict[str, User]:
    """Return the users of a file's text by name. Raises ValueError naming the line, never repeating it."""
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = line.split()
        if len(fields) != _FIELDS:
            raise ValueError(f"line {number}: write it as: name role hash")
        try:
            user = User(check_name(fields[0]), Role(fields[1]), fields[2])
            check_kept(user.kept)
        except ValueError as error:
            what = "the role is reader, operator or admin" if fields[1] not in set(Role) else str(error)
            raise ValueError(f"line {number}: {what}") from None
        if user.name in users:
            raise ValueError(f"line {number}: there is a user of this name already")
        users[user.name] = user
    return users


def new_user(name: str, role: str, kept: str) -> User:
    """Return a user. Raises ValueError when the name or the role cannot be one."""
    return User(check_name(name), Role(role), kept)


def put_user(path: Path, user: User) -> None:
    """Write a user into the file, in the place of one of the same name; nobody else may read a file that is new.

    Other lines, comments too, stay as they are. Raises OSError, and ValueError when the file is wrong.
    """
    name = user.name
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    known = read_users(text)
    lines = [user.line if line.split()[:1] == [name] and name in known else line for line in text.splitlines()]
    if name not in known:
        lines.append(user.line)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=mode)
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if path.exists() and os.geteuid() == 0:
        os.chown(unfinished, path.stat().st_uid, path.stat().st_gid)  # else the console could read it no more
    unfinished.replace(path)


def check_name(name: str) -> str:
    """Return the name. Raises ValueError when it cannot be a user's."""
    if not name or len(name) > MAX_NAME or not name.isprintable() or " " in name or name.startswith("#"):
        raise ValueError(f"a name has 1 to {MAX_NAME} printable characters, no space, and does not begin with #")
    return name


class UsersFile:
    """The users of this moment. A file that is spoilt later on changes nothing until it is mended, and is logged."""

    def __init__(self, path: Path) -> None:
        """Read it. Raises ConfigurationError when it cannot be read or is wrong."""
        self._path = path
        try:
            self._stamp = self._look()
            self._users = self._read()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"LOGISTICS_CONSOLE_USERS_FILE: {_words(error)}") from None
        if not self._users:
            raise ConfigurationError(
                "LOGISTICS_CONSOLE_USERS_FILE has no user: 'logistics console add-user NAME --role admin' adds one"
            )

    def all(self) -> Mapping[str, User]:
        """Return the users by name."""
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._users = self._read()
        except (OSError, ValueError) as error:
            _log.error("console.users_file", error=_words(error), users="as they were")
        return self._users

    def _look(self) -> tuple[int, ...]:
        found = self._path.stat()  # the change time, too: a file may become readable by a chown alone
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def _read(self) -> dict[str, User]:
        return read_users(self._path.read_text(encoding="utf-8"))


def _words(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "the file is not UTF-8 text"
    return f"the file cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
