"""What is wrong, the worst first, on top of the first page; that all is well otherwise."""

from infra.console.pages.kit import Tag
from infra.console.pages.problem_lines import ProblemLines
from infra.console.pages.words import BAD, GOOD, WARN
from worker.feed import LivePicture
from worker.problem import ProblemKind

_WELL = "All is well."


class Verdict:
    """The lines, and what is read out to those who do not see them: once, when something new is wrong or mended."""

    def __init__(self) -> None:
        with Tag("section", classes="verdict", aria_label="What is wrong") as self._box:
            self._well = Tag("p", _WELL, "well")
            self._lines = ProblemLines()
        self._read_out = Tag("p", "", "unseen", role="status")
        self._read: set[tuple[str, str]] | None = None

    def show(self, picture: LivePicture) -> None:
        """Show what is wrong now."""
        found = picture.problems
        self._well.say("" if found else _WELL)
        self._lines.show(found)
        kinds = {problem.kind for problem in found}
        self._box.look(f"verdict {GOOD if not found else WARN if kinds == {ProblemKind.OPEN_LETTERS} else BAD}")
        self._read_out_news(picture)

    def _read_out_news(self, picture: LivePicture) -> None:
        """Have the change read out; not what the page began with, which is read in its place, nor numbers alone."""
        now = {(problem.kind.value, problem.about) for problem in picture.problems}
        if self._read is not None and now != self._read:
            sentences = (f"{problem.said(now=picture.taken_at)}." for problem in picture.problems)
            self._read_out.say(" ".join(sentences) or _WELL)
        self._read = now
