"""Asking before something is done."""

from collections.abc import Callable

from nicegui import ui

from infra.console.pages.kit import Tag, button

_NEEDED = "say why: the audit log keeps it"


async def ask(
    title: str,
    do: str,
    *,
    about: Callable[[], object] = lambda: None,
    look: str = "main",
    why_needed: bool = True,
) -> str | None:
    """Ask whether to go on; return the reason that is given for it, None for a no.

    `about`: shows what would be done. `do`: what the button says. `why_needed`: no reason, no going on.
    """
    with ui.dialog() as dialog, Tag("div", classes="sheet"):
        dialog.props["aria-label"] = title
        Tag("h2", title)
        about()
        why = ui.input("Why", validation={_NEEDED: lambda text: bool(text.strip())} if why_needed else None)
        why.props("outlined dense autofocus maxlength=300 lazy-rules no-error-icon").classes("why")
        why.without_auto_validation()

        def go() -> None:
            if why.validate():
                dialog.submit(str(why.value).strip())

        why.on("keydown.enter", go)
        with Tag("div", classes="line end"):
            button("Back", lambda: dialog.submit(None))
            button(do, go, look)
    answer: str | None = await dialog
    dialog.delete()
    return answer
