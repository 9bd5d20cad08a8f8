"""What a person was shown, and what it is now."""

from infra.console.errors import ChangedMeanwhileError


def refuse_unless(expected: int | None, found: int) -> None:
    """Raise ChangedMeanwhileError when another number was expected; None: whatever there is."""
    if expected not in {None, found}:
        raise ChangedMeanwhileError(f"{expected:,} dead letters were expected, and now {found:,} match: look again")
