"""What commands need of the console, which not every installation has."""

import importlib
from typing import Any

from worker.domain.errors import ConfigurationError


def imported(module: str) -> Any:
    """Return a module of the console. Raises ConfigurationError where its packages are not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the console's packages are not installed ({error.name} is missing): pip install 'logistics[console]'"
        ) from None
