"""An edit of a dead letter as JSON for programs."""

from typing import Any

from worker.domain.edit import Edit, EditReport
from worker.domain.letter_story import ReplayStory


def edit_document(edit: Edit, report: EditReport | None, story: ReplayStory | None, *, waited: bool) -> dict[str, Any]:
    """Return an edit and what became of it."""
    return {
        "id": edit.after.id,
        "dry_run": report is None,
        "version": edit.after.version,
        "exchange": edit.origin.exchange,
        "routing_key": edit.origin.routing_key,
        "body_changes": edit.body_changes,
        "header_changes": {name: {"before": old, "after": new} for name, (old, new) in edit.header_changes.items()},
        "result": report.result if report is not None else None,
        "replay_id": report.replay_id if report is not None else None,
        "why": report.why if report is not None else None,
        **({"replay": story} if waited else {}),
    }
