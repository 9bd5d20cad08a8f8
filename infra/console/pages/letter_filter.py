"""Which dead letters a page shows, as its address says: a link to what one sees can be sent to a colleague.

The names and values are those of the API.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from pydantic import ValidationError

from infra.console.api.filters import ALL, PageFilters, cursor_of
from infra.console.pages.forms import choice, field, filter_form, time_field
from infra.console.pages.kit import Tag
from worker.domain.errors import LogisticsError
from worker.domain.outcome import DeadLetterReason
from worker.domain.selection import DeadLetterState, Place, Selection

HOME = "/dead-letters"
_NAMES = ("state", "reason", "group", "order_id", "trace_id", "since", "until")


class WrongAddressError(LogisticsError):
    """An address that asks for what there is not; the message says which part of it."""


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """What an address asks for."""

    given: Mapping[str, str]
    """What is set, as it was written, but for the place in the list."""
    selection: Selection
    after: Place | None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "LetterFilter":
        """Read an address. Raises WrongAddressError saying what cannot be read."""
        given = {name: query[name].strip() for name in _NAMES if query.get(name, "").strip()}
        place = {"cursor": query["cursor"]} if query.get("cursor") else {}
        try:
            filters = PageFilters.model_validate({**given, **place})
        except ValidationError as error:
            wrong = [f"{one['loc'][0]}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors()]
            raise WrongAddressError(f"this filter cannot be read: {'; '.join(wrong)}") from None
        return cls(given, filters.selection(), filters.after)

    def address(self, **changes: str | None) -> str:
        """Return the address of this filter after some changes; None takes a part away."""
        return _address(HOME, {**self.given, **changes})

    def beyond(self, place: Place) -> str:
        """Return the address of the part of the list after a place."""
        return self.address(cursor=cursor_of(place))

    @property
    def export_address(self) -> str:
        """Where the letters are written out, bodies included."""
        return _address("/api/dead-letters/export", self.given)

    def form(self) -> None:
        """Show the form that makes such an address."""
        given = self.given
        with filter_form(HOME, "Filter dead letters", given):
            choice("State", "state", [*DeadLetterState, ALL], given.get("state", DeadLetterState.OPEN))
            choice("Reason", "reason", ["", *DeadLetterReason], given.get("reason", ""))
            field("Order", "order_id", given.get("order_id", ""))
            field("Trace ID", "trace_id", given.get("trace_id", ""))
            time_field("Since", "since", given.get("since", ""))
            time_field("Until", "until", given.get("until", ""))
            if "group" in given:
                Tag("input", type="hidden", name="group", value=given["group"])


def _address(path: str, parts: Mapping[str, str | None]) -> str:
    wanted = {name: text for name, text in parts.items() if text}
    return f"{path}?{urlencode(wanted)}" if wanted else path
