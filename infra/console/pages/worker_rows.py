"""The workers as rows that change in place: where each stands, its circuit with a countdown, what it has in hand."""

from collections.abc import Callable, Sequence

from nicegui.element import Element

from infra.console.pages.kit import Live, Tag, chip, left, table
from infra.console.pages.text import UNKNOWN, number, span
from infra.console.pages.words import BAD, CALM, GOOD, WARN
from worker.overview_words import circuit_in_words, order_takers
from worker.worker_views import WorkerView

_LOST_SHOWN = 3
_COLUMNS = ("Worker", "State", "Circuit", "In flight|num", "At most|num roomy", "Up|roomy", "Version|roomy")

Actions = Callable[[str], Callable[[WorkerView], None]]


class WorkerRows:
    """The table."""

    def __init__(self, actions: Actions | None = None) -> None:
        """`actions`: makes what can be done with the worker of a name, and returns what shows its newer state."""
        self._actions = actions
        with table("Workers", *_COLUMNS, *(["Do"] if actions is not None else [])) as body:
            self._rows = Live(body, self._row)
        self._none = Tag("p", "", "soft padded")

    def show(self, workers: Sequence[WorkerView] | None) -> None:
        """Show them as they are now: those that live, and the last few that were lost."""
        lost = [worker for worker in workers or () if worker.lost][:_LOST_SHOWN]
        shown = [*(worker for worker in workers or () if not worker.lost), *lost]
        self._rows.show({worker.name: worker for worker in shown})
        none = UNKNOWN if workers is None else "No worker runs: 'logistics worker' is one."
        self._none.say(none).put(hidden=bool(shown))

    def _row(self, worker: WorkerView) -> tuple[Element, Callable[[WorkerView], None]]:
        with Tag("tr", data_row=True) as row:
            Tag("td", worker.name, "mono break")
            with Tag("td", classes="tight"):
                state = chip("")
            with Tag("td", classes="tight"):
                show_circuit = _circuit()
            in_flight, limit = Tag("td", "", "num"), Tag("td", "", "num roomy")
            uptime, version = Tag("td", "", "tight roomy"), Tag("td", "", "tight roomy")
            show_actions = None
            if self._actions is not None:
                with Tag("td", classes="tight"):
                    show_actions = self._actions(worker.name)

        def refresh(now: WorkerView) -> None:
            text, look = _state(now)
            state.say(text).look(f"chip {look}".strip())
            show_circuit(now)
            in_flight.say(number(sum(now.in_flight.values())))
            limit.say(number(now.intake_limit) if order_takers([now]) else UNKNOWN)
            uptime.say(span(now.uptime and float(int(now.uptime))))
            version.say(now.version)
            if show_actions is not None:
                show_actions(now)

        return row, refresh


def _circuit() -> Callable[[WorkerView], None]:
    with Tag("span", classes="line tight-gap"):
        made = chip("")
        with Tag("span", classes="soft small", hidden=True) as countdown:
            Tag("span", "next try in ")
            seconds = left(0)

    def refresh(now: WorkerView) -> None:
        counts_down = now.circuit == "open" and now.circuit_retry_after > 0 and not now.lost
        text = "open" if counts_down and not now.circuit_held_open else circuit_in_words(now)
        look = {"closed": GOOD, "open": BAD, "half_open": WARN}.get(now.circuit, CALM)
        takes_orders = bool(order_takers([now]))
        made.say(text if takes_orders else UNKNOWN).look(f"chip {look}" if takes_orders and not now.lost else "chip")
        made.put(title=now.circuit_held_open or now.last_failure)
        countdown.put(hidden=not (counts_down and takes_orders) or bool(now.circuit_held_open))
        seconds.put(seconds=f"{now.circuit_retry_after:.1f}")

    return refresh


def _state(worker: WorkerView) -> tuple[str, str]:
    if worker.lost:
        return f"lost {span(float(int(worker.seen_ago)))} ago", BAD
    if worker.paused:
        return "paused", WARN
    return ("works", GOOD) if worker.connected else ("not connected", BAD)
