"""The one error of the private servers."""


class LocalServerError(Exception):
    """A private server cannot do what was asked; the message says why and what to do about it."""
