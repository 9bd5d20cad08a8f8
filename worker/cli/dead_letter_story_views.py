"""How a dead letter's replays, its bodies and its timeline look on a terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from worker.cli.dead_letter_text import at, event_line, short_duration
from worker.cli.dead_letter_views import open_table
from worker.cli.output import plain
from worker.domain.letter_story import ReplayEnd, ReplayStory, TimelineEntry
from worker.domain.letter_version import LetterVersion

_OUTCOME_STYLES = {ReplayEnd.RESOLVED: "green", ReplayEnd.ON_ITS_WAY: "yellow"}


def outcome_text(story: ReplayStory) -> str:
    """Return what became of a replay, in words."""
    after = short_duration(story.ended_at - story.at) if story.ended_at is not None else ""
    match story.outcome:
        case ReplayEnd.RESOLVED:
            return f"resolved after {after}"
        case ReplayEnd.FAILED_AGAIN:
            return plain(f"failed again after {after}: {story.error or 'no error was given'}")
        case ReplayEnd.NOT_SENT:
            return "not sent: the broker refused it"
        case ReplayEnd.ABANDONED:
            return f"opened again after {after}: nobody knows whether it was sent"
        case ReplayEnd.GIVEN_UP:
            return f"given up after {after}"
    if story.taken_by is not None:
        return plain(f"on its way: taken by worker {story.taken_by}")
    return "on its way: waiting in the queue"


def replays_table(stories: Sequence[ReplayStory], *, with_versions: bool) -> Table:
    """Return the replays as a table."""
    table = open_table("time", "by", "job", *(["version"] if with_versions else []), "outcome")
    for story in stories:
        style = _OUTCOME_STYLES.get(story.outcome, "red")
        version = [Text(str(story.version), justify="right")] if with_versions else []
        table.add_row(
            Text(at(story.at)),
            Text(plain(story.by or "")),
            Text(plain((story.job_id or "-")[:8])),
            *version,
            Text(outcome_text(story), style),
        )
    return table


def versions_table(versions: Sequence[LetterVersion]) -> Table:
    """Return the bodies that a letter has had as a table."""
    table = open_table("version", "time", "by", "bytes", "why")
    for version in versions:
        table.add_row(
            Text(str(version.number), justify="right"),
            Text(at(version.at)),
            Text(plain(version.by or "-")),
            Text(f"{version.size:,}", justify="right"),
            Text(plain(version.why or ("as it arrived" if not version.number else ""))),
        )
    return table


def timeline_table(entries: Sequence[TimelineEntry]) -> Table:
    """Return the timeline as a table."""
    table = open_table("time", "of", "event", "details")
    for entry in entries:
        event = entry.event
        table.add_row(Text(at(event.at)), Text(entry.of), Text(plain(event.event)), Text(event_line(event)))
    return table
