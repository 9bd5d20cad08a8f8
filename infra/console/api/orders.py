"""`/api/orders`."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from infra.console.api.answers import TheDesk, answer, asks
from infra.console.api.letter_models import OrderMatches, OrderStoryModel
from infra.console.desk.orders import OrderDesk
from worker.order_documents import story_document

router = APIRouter(prefix="/api/orders", tags=["orders"])
_SearchText = Annotated[str, Query(min_length=1, max_length=200)]


@router.get("", response_model=OrderMatches, openapi_extra=asks(OrderDesk.find))
async def find_orders(desk: TheDesk, q: _SearchText) -> Response:
    """Find orders by order id, shipment id or trace ID."""
    return answer({"orders": await desk.orders.find(q)})


@router.get("/story", response_model=OrderStoryModel, openapi_extra=asks(OrderDesk.story))
async def order_story(desk: TheDesk, order_id: _SearchText) -> Response:
    """Tell an order's story, from publish to delivered."""
    story = await desk.orders.story(order_id)
    return answer({**story_document(story), "masked": desk.orders.is_masked})
