"""A dead letter's message: its body, laid out and as it is, and its headers."""

from infra.console.pages.kit import Tag, button, link, table
from infra.console.pages.text import size
from worker.domain.body_text import laid_out
from worker.domain.letter_view import LetterView

_MAX_SHOWN = 64 * 1024


def message(view: LetterView, *, is_masked: bool) -> None:
    """Show body and headers."""
    letter, length = view.letter, view.versions[-1].size
    with Tag("section", classes="card"):
        with Tag("div", classes="spread"):
            Tag("h2", f"Body · {size(length)}")
            tools = Tag("div", classes="line")
        if is_masked:
            Tag("p", "Hidden: a body may hold personal data. The role operator sees it.", "soft")
        else:
            _body(letter.body, letter.id, tools)
        with Tag("details", classes="headers"):
            Tag("summary", f"Headers ({len(letter.headers)})")
            with table("Headers", "Header", "Value"):
                for name, value in sorted(letter.headers.items()):
                    with Tag("tr"):
                        Tag("td", name, "mono break")
                        Tag("td", f"{value}", "mono break")


def _body(body: bytes, letter_id: str, tools: Tag) -> None:
    pretty = laid_out(body)
    raw = body[:_MAX_SHOWN].decode("utf-8", "backslashreplace") or "(empty)"
    shown = Tag("pre", "\n".join(pretty) if pretty is not None else raw, "body", tabindex="0", aria_label="Body")
    if len(body) > _MAX_SHOWN:
        Tag("p", f"The first {size(_MAX_SHOWN)} of {size(len(body))}.", "soft small")

    def turn() -> None:
        is_raw = toggle.props["aria-pressed"] == "true"
        toggle.put(aria_pressed="false" if is_raw else "true")
        shown.say("\n".join(pretty or ()) if is_raw else raw)

    with tools:
        if pretty is not None:
            toggle = button("As it came", turn, "plain", aria_pressed="false")
        link("Download", f"/api/dead-letters/{letter_id}/body", "btn plain", download=f"{letter_id}.json")
