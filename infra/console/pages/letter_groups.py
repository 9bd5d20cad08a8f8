"""Dead letters by what went wrong: how many, since when, and how they came over the last day."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from nicegui import ui

from infra.console.pages.kit import Spark, Tag, chip, link, table, when
from infra.console.pages.letter_filter import LetterFilter
from infra.console.pages.shell import Shell
from infra.console.pages.text import counted, failure
from infra.console.pages.words import WHY, words
from worker.domain.selection import DeadLetterGroup, HourCount

_SHOWN = 8
_HOURS = 24


class LetterGroups:
    """The table of groups. It is read when the page stands: counting many letters takes longer than listing some."""

    def __init__(self, shell: Shell, chosen: LetterFilter) -> None:
        self._shell = shell
        self._chosen = chosen
        self._card = Tag("div", classes="card flush groups")
        with self._card:
            Tag("p", "Counting by what went wrong …", "soft empty")
        ui.timer(0, self._load, once=True)

    async def _load(self) -> None:
        with self._shell.told():
            groups = await self._shell.desk.letters.groups(self._chosen.selection)
            self._card.clear()
            self._card.put(hidden=not groups)
            with self._card:
                sparks = self._rows(groups)
            for group, spark in zip(groups, sparks, strict=False):
                await self._draw(group, spark)

    def _rows(self, groups: Sequence[DeadLetterGroup]) -> list[Spark]:
        Tag("h2", f"What went wrong: {counted(len(groups), 'kind')}")
        sparks = []
        columns = ("Error", "Reason|roomy", "Dead letters|num", "Last 24 h|roomy", "First|roomy", "Last")
        with table("Groups", *columns, classes="folding"):
            for group in groups[:_SHOWN]:
                with Tag("tr"):
                    with Tag("td", classes="clip lead"):
                        said, address = failure(group.error_message), self._chosen.address(group=group.fingerprint)
                        link(said or group.error_type, address, title=group.error_message)
                    with Tag("td", classes="tight roomy"):
                        chip(words(group.reason)).put(title=WHY.get(group.reason))
                    Tag("td", f"{group.count:,}", "num strong side")
                    with Tag("td", classes="roomy"):
                        sparks.append(Spark(f"{group.error_type}: the last 24 hours", "short is-bad"))
                    with Tag("td", classes="tight roomy"):
                        when(group.first_seen)
                    with Tag("td", classes="tight under"):
                        when(group.last_seen, "ago")
        if len(groups) > _SHOWN:
            Tag("p", f"and {counted(len(groups) - _SHOWN, 'smaller kind')}: filter to see them", "soft small padded")
        return sparks

    async def _draw(self, group: DeadLetterGroup, spark: Spark) -> None:
        now = datetime.now(UTC)
        day = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=_HOURS - 1)
        chosen = self._chosen.selection
        since = day if chosen.since is None else max(day, chosen.since)
        counts = await self._shell.desk.letters.hours(replace(chosen, group=group.fingerprint, since=since))
        spark.show(_by_hour(counts, now))


def _by_hour(counts: Sequence[HourCount], now: datetime) -> list[float | None]:
    """Return the counts of the last 24 hours, the present one last."""
    found = {count.hour: count.count for count in counts}
    this = now.replace(minute=0, second=0, microsecond=0)
    return [float(found.get(this - timedelta(hours=back), 0)) for back in reversed(range(_HOURS))]
