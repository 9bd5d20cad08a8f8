"""The desk of one person: all they can see and do. The API's routes and the pages use this and nothing else."""

from fastapi import Request

from infra.console.access.roles import Person
from infra.console.access.visitor import Visitor
from infra.console.desk.edits import EditDesk
from infra.console.desk.letters import LetterDesk
from infra.console.desk.orders import OrderDesk
from infra.console.desk.part import House
from infra.console.desk.replays import ReplayDesk
from infra.console.desk.system import SystemDesk
from infra.console.desk.triage import TriageDesk
from infra.console.desk.workers import WorkerDesk
from infra.console.errors import NotSignedInError


class Desk:
    """Every action asks again who the person is and what they may: a page may keep its desk for as long as it is open.

    Whatever is asked of a part raises NotAllowedError when the role does not cover it, and NotSignedInError when the
    sign-in has ended.
    """

    def __init__(self, visitor: Visitor, house: House) -> None:
        self.visitor = visitor
        self.system = SystemDesk(visitor, house)
        self.orders = OrderDesk(visitor, house)
        self.letters = LetterDesk(visitor, house)
        self.triage = TriageDesk(visitor, house)
        self.edits = EditDesk(visitor, house)
        self.replays = ReplayDesk(visitor, house)
        self.workers = WorkerDesk(visitor, house)

    @property
    def person(self) -> Person:
        """Whose desk it is, with the role of this moment. Raises NotSignedInError when the sign-in has ended."""
        return self.visitor.person()


def desk_of(request: Request) -> Desk:
    """Return the desk of who makes a request, of the API or for a page. Raises NotSignedInError."""
    visitor: Visitor | None = request.state.visitor
    if visitor is None:
        raise NotSignedInError("sign in first")
    return Desk(visitor, request.state.house)
