"""The simulator's own HTTP surface, `/simulator/…`: change the behaviour, read what the supplier remembers."""

from aiohttp import web

from infra.supplier.simulator_behaviour import WrongBehaviour, read_behaviour
from infra.supplier.simulator_supplier import SimulatedSupplier


class Control:
    """Handlers that look at one simulated supplier and change it."""

    def __init__(self, supplier: SimulatedSupplier) -> None:
        self._supplier = supplier

    def routes(self) -> list[web.RouteDef]:
        """Every route, `/healthz` included."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/simulator/behaviour", self.behaviour),
            web.put("/simulator/behaviour", self.replace_behaviour),
            web.patch("/simulator/behaviour", self.change_behaviour),
            web.get("/simulator/stats", self.stats),
            web.get("/simulator/requests", self.requests),
            web.get("/simulator/dispatches/{order_id}", self.dispatches),
            web.post("/simulator/reset", self.reset),
        ]

    async def healthz(self, _: web.Request) -> web.Response:
        """The simulator is up, also while it plays a supplier that is not."""
        return web.json_response({"status": "ok"})

    async def behaviour(self, _: web.Request) -> web.Response:
        """Every setting with its value."""
        return web.json_response(self._supplier.behaviour.model_dump())

    async def replace_behaviour(self, request: web.Request) -> web.Response:
        """A whole new behaviour: what is not named takes its default."""
        return await self._set_behaviour(request, keep_unnamed=False)

    async def change_behaviour(self, request: web.Request) -> web.Response:
        """Only what is named changes; `rules` is one setting, replaced as a whole."""
        return await self._set_behaviour(request, keep_unnamed=True)

    async def _set_behaviour(self, request: web.Request, *, keep_unnamed: bool) -> web.Response:
        try:
            settings = await request.json()
        except ValueError as error:
            return _error(400, f"the body is not JSON: {error}")
        try:
            behaviour = read_behaviour(settings, base=self._supplier.behaviour if keep_unnamed else None)
        except WrongBehaviour as error:
            return _error(422, f"nothing changed: {error}")
        self._supplier.behaviour = behaviour
        return web.json_response(behaviour.model_dump())

    async def stats(self, _: web.Request) -> web.Response:
        """The counts."""
        return web.json_response(self._supplier.ledger.stats())

    async def requests(self, request: web.Request) -> web.Response:
        """The last `limit` (100) recorded requests, of `order_id` alone if given, in the order they arrived."""
        try:
            limit = int(request.query.get("limit", "100"))
        except ValueError:
            limit = 0
        if limit < 1:
            return _error(400, "limit must be a whole number of at least 1")
        found = self._supplier.ledger.requests(request.query.get("order_id"), limit)
        return web.json_response({"requests": found})

    async def dispatches(self, request: web.Request) -> web.Response:
        """Every dispatch of one order; none is an empty list, not an error."""
        order_id = request.match_info["order_id"]
        return web.json_response({"order_id": order_id, "dispatches": self._supplier.ledger.dispatches(order_id)})

    async def reset(self, _: web.Request) -> web.Response:
        """Forget counts, keys and dispatches; the behaviour stays."""
        self._supplier.reset()
        return web.json_response({"reset": True})


def _error(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)
