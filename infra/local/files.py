"""Small files of a data folder that only its owner may read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_private(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace the file at once as a whole; nobody but the owner may read it."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)


def read_if_there(path: Path) -> str | None:
    """Return the text of the file, or None when there is no such file."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def remembered(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what the JSON file holds; the first time, what `make` returns, which the file then keeps."""
    text = read_if_there(path)
    if text is None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps(make(), indent=2)
        write_private(path, text)
    return dict(json.loads(text))
