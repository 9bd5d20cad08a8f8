"""The audit log as JSON for programs."""

from typing import Any

from worker.domain.audit_entry import AuditEntry


def entry_document(entry: AuditEntry) -> dict[str, Any]:
    """Return one action; `finished` is false while it is under way, or when the process died over it."""
    fields = {name: getattr(entry, name) for name in AuditEntry.__dataclass_fields__}
    return {**fields, "finished": entry.result is not None}
