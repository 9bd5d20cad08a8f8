"""Orders: found by any of their ids, and told from publish to delivered."""

from collections.abc import Sequence

from fastapi import Request
from nicegui import ui

from infra.console.desk.desk import Desk, desk_of
from infra.console.pages.kit import Tag, chip, empty, facts, link, table, when
from infra.console.pages.letter_filter import HOME as LETTERS
from infra.console.pages.shell import Shell
from infra.console.pages.story import story
from infra.console.pages.text import counted
from infra.console.pages.words import LOOK, order_address, words
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.order_story import OrderStory

HOME = "/orders"


@ui.page(HOME, response_timeout=10)
async def orders(request: Request, q: str = "") -> None:
    """Show the order that has this order id, shipment id or trace ID; all of them, when several do."""
    shell = Shell(q or "Orders", desk_of(request), here=HOME)
    with shell.page():
        await _show(shell.desk, q.strip())


async def _show(desk: Desk, text: str) -> None:
    found = await desk.orders.find(text) if text else []
    if len(found) == 1:
        _order(await desk.orders.story(found[0]))
        return
    Tag("h1", f"Orders: {text}" if text else "Orders", "break")
    with Tag("div", classes="card"):
        if not text:
            empty("Which order?", "Search above for an order id, a shipment id or a trace ID. The key / goes there.")
        elif not found:
            empty("Nothing is known of it", "It may still wait in its queue, or be written differently. An order is "
                  "known from the moment a worker has taken it.")  # fmt: skip
        else:
            Tag("p", f"{counted(len(found), 'order')}:")
            with Tag("ul"):
                for order_id in found:
                    with Tag("li"):
                        link(order_id, order_address(order_id))


def _order(told: OrderStory) -> None:
    shipment = told.shipment
    with Tag("div", classes="line"):
        Tag("h1", told.order_id, "break")
        if shipment is not None:
            chip(words(shipment.status.lower()), LOOK.get(shipment.status, ""))
    with Tag("div", classes="two"):
        with Tag("section", classes="card"):
            Tag("h2", "From publish to now")
            story(told.timeline)
        with Tag("div", classes="stack"):
            with Tag("section", classes="card"):
                _facts(told)
            if told.letters:
                _letters(told.letters)


def _facts(told: OrderStory) -> None:
    shipment, trace_id = told.shipment, told.trace_id or ""
    pairs = {"Trace ID": trace_id}
    if shipment is None:
        Tag("p", "No shipment: no worker could read this order.", "soft")
    else:
        pairs |= {
            "Shipment ID": shipment.id,
            "Destination": shipment.destination,
            "Failed tries": f"{shipment.retry_count}",
        }
        if shipment.last_error:
            pairs["Last error"] = shipment.last_error
    facts(pairs)
    if shipment is not None:
        with Tag("p", classes="soft small"):
            Tag("span", "First seen ")
            when(shipment.created_at)
            Tag("span", ", changed ")
            when(shipment.updated_at, "ago")


def _letters(letters: Sequence[DeadLetterRecord]) -> None:
    with Tag("section", classes="card flush"):
        Tag("h2", counted(len(letters), "dead letter"))
        with table("Dead letters", "When", "Reason", "State"):
            for letter in letters:
                with Tag("tr", data_row=True):
                    with Tag("td", classes="tight"), link(None, f"{LETTERS}/{letter.id}", "row"):
                        when(letter.dead_lettered_at)
                    Tag("td", words(letter.reason))
                    with Tag("td", classes="tight"):
                        chip(words(letter.state), LOOK.get(letter.state, ""))
