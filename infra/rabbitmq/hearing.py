"""Whether a subscriber hears its queue, or has sat deaf for so long that a supervisor should know."""

import time

from worker.domain.errors import BrokerRefusedError, BrokerUnavailableError, LogisticsError

_DEAF_AFTER = 25.0
_REFUSED_FOR = 10.0


class Hearing:
    """Remembers when all was well last, and what is wrong since."""

    def __init__(self) -> None:
        self.is_sound()

    @property
    def why_deaf(self) -> str | None:
        """Why nothing is heard for a while; None while it consumes, is paused, or waits for a broker to come.

        A broker that is away is there again by itself. One that refuses us, or whose queues differ, stays like that
        until somebody acts: then it is for whoever watches over this process to know.
        """
        patience = _REFUSED_FOR if self._trouble else _DEAF_AFTER
        if time.monotonic() - self._last_sound < patience:
            return None
        return f"no consumer: {self._trouble or 'nothing moves'}"

    def is_sound(self) -> None:
        """All is well, or only a matter of waiting."""
        self._last_sound, self._trouble = time.monotonic(), ""

    def has_failed(self, error: LogisticsError) -> None:
        """Remember what is wrong; a broker that is merely away is no reason to be restarted."""
        if isinstance(error, BrokerUnavailableError) and not isinstance(error, BrokerRefusedError):
            self.is_sound()
        else:
            self._trouble = str(error)
