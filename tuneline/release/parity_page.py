"""The picture of a parity check: every golden prompt with its difference."""

from __future__ import annotations

from tuneline.page import page, table
from tuneline.release.parity import ParityReport


def parity_page(report: ParityReport) -> str:
    """List the golden prompts, the largest difference first."""
    worst = sorted(report.prompts, key=lambda prompt: -prompt.difference)
    rows = [[p.id, str(p.tokens), f"{p.difference:.5f}", f"{p.largest:.5f}", f"{p.from_base:.3f}"] for p in worst]
    header = ["golden prompt", "tokens", "evaluated against served, nats per token", "largest of a token"]
    header += ["served against base, nats per token"]
    return page(
        "Parity: passed" if report.passed else "Parity: refused",
        report.sentence,
        table(header, rows, frozenset({1, 2, 3, 4})),
    )
