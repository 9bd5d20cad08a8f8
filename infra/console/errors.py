"""What the console alone says no for."""

from worker.domain.errors import LogisticsError


class NotSignedInError(LogisticsError):
    """Nobody known is asking, or not any more."""


class NotAllowedError(LogisticsError):
    """The role of who asks does not cover this."""


class SignInRefusedError(LogisticsError):
    """No such user, or another password: which of the two is not told."""


class TooManyTriesError(LogisticsError):
    """Too many sign-ins failed; the next one is not looked at before `retry_after`."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many sign-ins failed: try again in {retry_after:.0f} s")
        self.retry_after = retry_after
        """Seconds."""


class ChangedMeanwhileError(LogisticsError):
    """What would be moved is not what the person was shown; nothing was moved."""


class NothingToDoError(LogisticsError):
    """Nothing matches, or nothing of it is in a state that this moves; the message says which."""
