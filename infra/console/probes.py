"""`/livez` and `/readyz`, for supervisors: they tell whether the console works, and nothing else."""

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from infra.console.desk.part import House
from worker.overview_picture import BROKER, STORE

router = APIRouter(include_in_schema=False)


@router.get("/livez")
async def livez() -> Response:
    """Answer: that it does shows that the event loop moves."""
    return PlainTextResponse("console: ok\n")


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Answer 503 while RabbitMQ or MongoDB cannot be reached; where they are is told to who has signed in."""
    house: House = request.state.house
    away = house.feed.latest().overview.unreachable
    lines = [f"{name}: {'not reachable' if name in away else 'ok'}\n" for name in (BROKER, STORE)]
    return PlainTextResponse("".join(lines), 503 if away else 200)
