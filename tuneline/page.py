"""The frame of every page tuneline draws: one self-contained HTML document, readable in light and dark."""

from __future__ import annotations

from html import escape

# The colours of all that is drawn, in light and dark.
PALETTE = """:root{--ink:#1c2430;--soft:#5b6675;--line:#d8dee6;--back:#fff;
--accent:#2b6cb0;--good:#2f855a;--bad:#c53030;--wait:#b7791f}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf2;--soft:#9aa7b8;--line:#344050;--back:#151b23;
--accent:#63a4e8;--good:#68c391;--bad:#f08a8a;--wait:#e0b354}}
"""
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);margin:0;padding:28px;max-width:1080px}
@media(max-width:600px){body{padding:16px 12px}}
.scroll{overflow-x:auto}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:28px 0 8px}p.lead{color:var(--soft);margin:0 0 18px}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:6px 10px;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:600}td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
code,pre{font:13px/1.45 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
.good{color:var(--good)}.bad{color:var(--bad)}.wait{color:var(--wait)}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
"""


def page(title: str, lead: str, body: str) -> str:
    """A whole document. ``title`` and ``lead`` are escaped, ``body`` is HTML already."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{PALETTE}{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f'<p class="lead">{escape(lead)}</p>{body}</body></html>'
    )


def table(header: list[str], rows: list[list[str]], numbers: frozenset[int] = frozenset()) -> str:
    """A table of escaped cells; the columns in ``numbers`` are set flush right. On a narrow screen it scrolls."""

    def cells(tag: str, row: list[str]) -> str:
        return "".join(
            f'<{tag} class="number">{escape(cell)}</{tag}>' if index in numbers else f"<{tag}>{escape(cell)}</{tag}>"
            for index, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{cells("th", header)}</tr></thead><tbody>{body}</tbody></table></div>'
    )
