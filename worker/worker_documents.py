"""The workers as JSON for programs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from worker.control_words import held_back
from worker.domain.controls import Wishes
from worker.domain.worker_controls import Answers
from worker.overview_words import order_takers
from worker.problem import sentences
from worker.worker_views import WorkerView


def workers_document(found: Sequence[WorkerView], wishes: Wishes, *, now: datetime) -> dict[str, Any]:
    """Return the workers, what is wished of them, and in words what is held back."""
    live = [worker for worker in found if not worker.lost]
    held = sentences(held_back(wishes, order_takers(live)), now=now)
    return {"held_back": held, "workers": found, "control": wishes}


def answers_document(wishes: Wishes, answers: Answers) -> dict[str, Any]:
    """Return which workers have carried a wish out."""
    return {"revision": wishes.revision, "done": answers.done, "not_answered": answers.silent}
