"""A worker whose wall clock is wrong: `python -m tests.chaos.shifted_clock SECONDS …` is `logistics …` in another time.

Its monotonic clock is right, as on a machine whose time was set by hand.
"""

import datetime as datetime_module
import sys
import time

Real = datetime_module.datetime


class _AnyDatetime(type):
    """Those that libraries make in C count as datetimes, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Real)


def shift(seconds: float) -> None:
    """From now on whoever asks for the time gets one that is so many seconds ahead."""
    ahead, real_time = datetime_module.timedelta(seconds=seconds), time.time

    class Shifted(Real, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: datetime_module.tzinfo | None = None) -> Real:  # type: ignore[override]
            return Real.now(tz) + ahead

        @classmethod
        def utcnow(cls) -> Real:  # type: ignore[override]
            return Real.now(datetime_module.UTC).replace(tzinfo=None) + ahead

    datetime_module.datetime = Shifted  # type: ignore[misc]
    time.time = lambda: real_time() + seconds


if __name__ == "__main__":
    shift(float(sys.argv.pop(1)))
    from worker.cli import main

    main()
