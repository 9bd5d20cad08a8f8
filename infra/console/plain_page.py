"""A page without scripts: dark or light as the reader's system is, readable on a phone."""

import html

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--accent:light-dark(#0b57d0,#8ab4f8)}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:60rem}
main.narrow{max-width:20rem;margin:15vh auto 0}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem}
label{display:block;margin:1rem 0}
input,button{font:inherit;box-sizing:border-box;width:100%;padding:.6rem;border:1px solid #888;border-radius:.4rem}
button{background:var(--accent);color:light-dark(#fff,#000);border:0;font-weight:600;cursor:pointer}
[role=alert]{border-left:.3rem solid #d33;padding-left:.6rem}
details{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;padding:.5rem .8rem}
summary{cursor:pointer}summary code{font-weight:600}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{overflow:auto}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem .25rem 0;vertical-align:top}
a{color:var(--accent)}.role{float:right;opacity:.75}
"""


def plain_page(title: str, body: str) -> str:
    """Return a whole page; `body` is HTML, the title is text."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)} · logistics</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )
