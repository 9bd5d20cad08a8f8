"""The pages, put behind the API of the same application."""

from fastapi import FastAPI
from nicegui import ui

from infra.console.pages import (
    audit,
    fault,
    letter,
    letter_edit,
    letters,
    nothing_here,
    orders,
    overview,
    replay,
    replays,
    workers,
)
from infra.console.pages.shell import add_look

PAGES = (overview, orders, letters, letter, letter_edit, replays, replay, workers, audit, nothing_here, fault)
"""The modules whose pages are served: importing one registers its pages."""

_RECONNECT_WITHIN = 30.0
"""Seconds that a page may lose its connection, as a laptop's lid does, and go on where it was."""


def add_pages(app: FastAPI) -> None:
    """Serve the pages at `/`. What they need from the browser's side comes with them, nothing from elsewhere."""
    add_look()
    ui.run_with(
        app,
        title="logistics",
        dark=None,
        language="en-US",
        tailwind=False,
        reconnect_timeout=_RECONNECT_WITHIN,
        binding_refresh_interval=None,
        show_welcome_message=False,
    )
