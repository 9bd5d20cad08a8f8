"""What every page has around it: the way to the other pages, the search, the theme, the keys, the last word."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from nicegui import ui
from nicegui.context import context

from infra.console.access.roles import Role
from infra.console.access.visitor import Way
from infra.console.desk.desk import Desk
from infra.console.errors import NotAllowedError, NotSignedInError
from infra.console.faults import in_words, logged
from infra.console.pages.kit import Tag, button, link
from infra.console.pages.problem_lines import ProblemLines
from worker.domain.errors import LogisticsError, NotFoundError, StoreUnavailableError

PLACES = (
    ("Overview", "/", "o"),
    ("Orders", "/orders", "s"),
    ("Dead letters", "/dead-letters", "d"),
    ("Replays", "/replays", "r"),
    ("Workers", "/workers", "w"),
    ("Audit", "/audit", "a"),
)
"""Name, address, and the key after `g`."""

_KEYS = (
    ("/", "search"),
    *((f"g {key}", name.lower()) for name, _, key in PLACES),
    ("j k", "next and previous row"),
    ("x", "select the row"),
    ("Enter", "open the row"),
    ("t", "dark or light"),
    ("?", "these keys"),
)
_WORD_FOR = 20.0
_LOOK_EVERY = 2.0
_FOLDER = Path(__file__).parent


def add_look() -> None:
    """Give every page our style and script. They stand in the page itself: nothing else is to be fetched."""
    style, script = (_FOLDER / "console.css").read_text("utf-8"), (_FOLDER / "console.js").read_text("utf-8")
    ui.add_head_html(f"<style>{style}</style><script>{script}</script>", shared=True)


class Shell:
    """The page around what it shows."""

    def __init__(self, title: str, desk: Desk, *, here: str) -> None:
        """`here`: the address of the page in the navigation that this one belongs to."""
        self.desk = desk
        person = desk.person
        self.may_operate = person.role.covers(Role.OPERATOR)
        self.may_administer = person.role.covers(Role.ADMIN)
        ui.page_title(f"{title} · logistics")
        with context.client.layout:
            top = Tag("header", classes="top")
        top.move(target_index=0)
        with top, Tag("div", classes="top-in"):
            _places(here)
            Tag("span", classes="grow")
            _search()
            Tag("span", f"{person.name} · {person.role}", classes="soft small roomy")
            button("◐", classes="plain", script="consoleTheme()", aria_label="Dark or light", title="t")
            button("?", classes="plain roomy", script="consoleKeys()", aria_label="Keys", title="?")
            if desk.visitor.way is Way.SESSION:
                with Tag("form", method="post", action="/sign-out"):
                    Tag("button", "Sign out", "btn plain", type="submit")
        if here != "/":  # the overview says it, and more
            with top, Tag("div", classes="alarm", role="status", hidden=True) as self._alarm:
                self._away = ProblemLines()
            ui.timer(_LOOK_EVERY, self._look, immediate=False)  # later than a page that is quickly built
        ui.skip_link("Skip to the page", target=context.client.content)
        _key_list()
        self._word = Tag("div", classes="word", role="status", hidden=True)
        self._hush = ui.timer(_WORD_FOR, self.hush, active=False, immediate=False)
        self.body = Tag("div", classes="stack")
        ui.on_exception(self._fault)

    @contextmanager
    def page(self) -> Iterator[None]:
        """Build what the page shows. An error of ours is told in its place, with what to do about it."""
        try:
            with self.body:
                yield
        except NotSignedInError:
            self._sign_in()
        except LogisticsError as error:
            self.body.clear()
            with self.body:
                self._trouble(error)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Do something. An error of ours is told at the bottom of the page, which stays as it is."""
        try:
            yield
        except NotSignedInError:
            self._sign_in()
        except (LogisticsError, ValueError) as error:
            self.say(_sentence(str(error)), is_bad=True)

    def say(self, text: str, *, undo: Callable[[], Awaitable[None]] | None = None, is_bad: bool = False) -> None:
        """Say at the bottom of the page what was done, for 20 s, with the way back where there is one."""
        self._word.clear()
        with self._word:
            Tag("span", text)
            if undo is not None:
                button("Undo", undo)
            button("✕", self.hush, aria_label="Close")
        self._word.look("word is-bad" if is_bad else "word").put(hidden=None, role="alert" if is_bad else "status")
        self._hush.activate()

    def _look(self) -> None:
        """Say on every page when a server is away, and notice when the sign-in has ended."""
        with self.told():
            away = self.desk.system.live().overview.unreachable
            self._away.show(list(away.values()))
            self._alarm.put(hidden=not away)

    def hush(self) -> None:
        """Take the last word away."""
        self._word.put(hidden=True)
        self._hush.deactivate()

    def _fault(self, error: Exception) -> None:
        """Tell that something failed on a page that stands; while it is built, another page is answered."""
        if context.client.has_socket_connection:
            reference = logged(error, path=context.client.request.url.path)
            self.say(_sentence(in_words(reference)), is_bad=True)

    def _sign_in(self) -> None:
        address = context.client.request.url
        ui.navigate.to(f"/sign-in?next={quote(address.path + (f'?{address.query}' if address.query else ''))}")

    def _trouble(self, error: LogisticsError) -> None:
        advice = _sentence(str(error))
        with Tag("div", classes="card", role="alert"):
            if isinstance(error, NotFoundError):
                title = "Nothing here"
            elif isinstance(error, NotAllowedError):
                title = "Not allowed"
            elif isinstance(error, StoreUnavailableError):
                title = "MongoDB does not answer"
                advice += " The overview shows what was last known."
            else:
                title = "That did not work"
            with Tag("div", classes="empty"):
                Tag("h1", title)
                Tag("p", advice)
            with Tag("div", classes="line centred"):
                button("Try again", script="location.reload()")
                link("Overview", "/", "btn")


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _places(here: str) -> None:
    menu = button("☰", classes="plain menu-button", aria_label="Pages")
    with Tag("nav", classes="places", aria_label="Pages", popover="auto") as places:
        for name, href, key in PLACES:
            link(name, href, data_key=key, aria_current="page" if href == here else None, title=f"g {key}")
    menu.put(popovertarget=places.html_id)


def _search() -> None:
    with Tag("form", classes="find", role="search", method="get", action="/orders"):
        Tag("input", classes="field", type="search", name="q", placeholder="Order, shipment or trace ID",
            aria_label="Find an order", autocomplete="off", maxlength=200)  # fmt: skip


def _key_list() -> None:
    with Tag("dialog", classes="keys", aria_label="Keys"):
        Tag("h2", "Keys")
        with Tag("dl"):
            for keys, what in _KEYS:
                with Tag("dt"):
                    for key in keys.split():
                        Tag("kbd", key)
                Tag("dd", what)
        with Tag("form", method="dialog", classes="line centred"):
            Tag("button", "Close", "btn", type="submit")
