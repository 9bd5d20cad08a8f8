"""Orders."""

from collections.abc import Sequence

from infra.console.access.roles import Role
from infra.console.desk.masks import masked_story
from infra.console.desk.part import Part, needs
from worker.domain.errors import NotFoundError
from worker.domain.order_story import OrderStory


class OrderDesk(Part):
    """Finds orders and tells their stories. Every method raises StoreUnavailableError, too."""

    @needs(Role.READER)
    async def find(self, text: str) -> Sequence[str]:
        """Return the order ids that this order id, shipment id or trace ID leads to; none when nothing has it."""
        return await self._services.orders.find(text)

    @needs(Role.READER)
    async def story(self, order_id: str) -> OrderStory:
        """Return all that is known of an order; no destination for whom it `is_masked`. Raises NotFoundError."""
        story = await self._services.orders.of(order_id)
        if story is None:
            raise NotFoundError(f"nothing is known of the order {order_id!r}: it may still wait in its queue")
        return masked_story(story) if self.is_masked else story
