"""The figures as a picture: bars in plain SVG, which a browser shows beside the text, in light and dark."""

from collections.abc import Sequence
from html import escape

from benchmarks.programs import BARE, PLAIN, WORKER
from benchmarks.summary import Figure

_WIDTH, _LABEL, _BAR, _GAP, _HEAD = 720, 150, 16, 22, 40
_LONGEST = _WIDTH - _LABEL - 170
_COLOURS = {BARE.name: "#8c959f", PLAIN.name: "#bf8700", WORKER.name: "#0969da"}
_STYLE = (
    "text{font:13px sans-serif;fill:#57606a}.h{font-weight:bold}@media(prefers-color-scheme:dark){text{fill:#adbac7}}"
)


def svg(figures: Sequence[Figure]) -> str:
    """Return the picture: a group of bars for each figure, each group with a scale of its own."""
    parts, y = [], 0
    for figure in figures:
        parts.append(_text(0, y + 25, f"{figure.measure.name} ({figure.measure.unit})", kind="h"))
        parts.append(_text(_WIDTH - 150, y + 25, f"worker : plain = {figure.ratio:.2f}"))
        y += _HEAD
        longest = max(figure.medians.values()) or 1.0
        for name, value in figure.medians.items():
            parts.append(_bar(y, name, value, value / longest))
            y += _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 10}" width="{_WIDTH}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>\n"])


def _bar(y: int, name: str, value: float, share: float) -> str:
    length = max(round(share * _LONGEST), 1)
    bar = f'<rect x="{_LABEL}" y="{y}" width="{length}" height="{_BAR}" rx="2" fill="{_COLOURS[name]}"/>'
    number = f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"
    return f"{_text(0, y + 13, name)}{bar}{_text(_LABEL + length + 8, y + 13, number)}"


def _text(x: int, y: int, words: str, *, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}"{f" class={kind!r}" if kind else ""}>{escape(words)}</text>'
