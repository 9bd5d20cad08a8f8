"""Finding the private servers that `make up` left running in this folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

DATA_DIR_VARIABLE = "LOGISTICS_DATA_DIR"
_DEFAULT_DATA_DIR = ".logistics"
_STATE = "up/environment.json"


def data_dir(environment: Mapping[str, str]) -> Path:
    """Return the folder the private servers keep everything in."""
    return Path(environment.get(DATA_DIR_VARIABLE) or _DEFAULT_DATA_DIR).absolute()


def state_file(environment: Mapping[str, str]) -> Path:
    """Return the file that names the addresses of the stack that is up."""
    return data_dir(environment) / _STATE


def private_addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """Return amqp_url, mongodb_uri and supplier_url of the stack that is up here; nothing when none is."""
    try:
        state = json.loads(state_file(environment).read_text())
        os.kill(int(state["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: str(state[name]) for name in ("amqp_url", "mongodb_uri", "supplier_url") if name in state}
