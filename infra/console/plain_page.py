"""A page without scripts: dark or light as the reader's system is, readable on a phone."""

import html

_STYLE = """
:root{color-scheme:light dark;--line:light-dark(#d9dfe6,#2a3542);--accent:light-dark(#1a5fb4,#82b4ff);
--card:light-dark(#fff,#171e27)}
html{background:light-dark(#f4f6f8,#0f141a);color:light-dark(#17202b,#e4eaf1)}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:60rem}
main.narrow{max-width:20rem;margin:15vh auto 0;padding:1.6rem 1.8rem;background:var(--card);
border:1px solid var(--line);border-radius:.75rem}
main.narrow h1{margin:0}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem}
label{display:block;margin:1rem 0}
input,button{font:inherit;box-sizing:border-box;width:100%;padding:.6rem;border:1px solid light-dark(#8592a3,#6b7a8c);
border-radius:.45rem}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
button{background:var(--accent);color:light-dark(#fff,#0b1a2e);border:0;font-weight:600;cursor:pointer}
[role=alert]{border-left:.3rem solid light-dark(#a61b1b,#ff9c94);padding-left:.6rem}
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
