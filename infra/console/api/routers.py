"""Every route of the API."""

from infra.console.api import letter_actions, letters, orders, replays, session, system, workers

ROUTERS = (
    session.router,
    system.router,
    workers.router,
    orders.router,
    letters.router,
    letter_actions.router,
    replays.router,
)
