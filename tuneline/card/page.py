"""The card as a page for the dashboard."""

from __future__ import annotations

from html import escape

from tuneline.card.document import ModelCard
from tuneline.card.sections import Block, Items, Table, Text, lead, sections
from tuneline.page import page, table


def card_page(card: ModelCard) -> str:
    """Draw the card."""
    body = "".join(
        f"<h2>{escape(section.title)}</h2>{''.join(_block(block) for block in section.blocks)}"
        for section in sections(card)
    )
    return page(f"Model card: {card.name}", lead(card), body)


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Items):
        return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in block.items)}</ul>"
    if isinstance(block, Table):
        return table(list(block.header), [list(row) for row in block.rows], block.numbers)
    return f"<pre>{escape(block.text)}</pre>"
