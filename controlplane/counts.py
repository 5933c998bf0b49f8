"""What a gateway has counted per version, out of its ``/metrics``."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

# Pinned questions are parity checks and people who try a version: the gateway's comparison leaves them out as well.
_ROLES = ("production", "challenger", "shadow")


@dataclass
class Counts:
    """Of one version, since the gateway's start.

    Attributes:
        results: answers by how they ended: ok, empty, overlong, refused, failed, left.
        buckets: streamed answers whose first byte came within so many seconds.
    """

    results: dict[str, int] = field(default_factory=dict)
    buckets: dict[float, float] = field(default_factory=dict)

    @property
    def answers(self) -> int:
        """All of them."""
        return sum(self.results.values())

    @property
    def median_ttft(self) -> float | None:
        """Median time to first token, seconds, interpolated within its bucket; None without streamed answers."""
        edges = sorted(self.buckets)
        half = self.buckets[edges[-1]] / 2 if edges else 0
        below, reached = 0.0, 0.0
        for edge in edges:
            if half and self.buckets[edge] >= half:
                if edge == float("inf"):
                    return below
                return below + (edge - below) * (half - reached) / (self.buckets[edge] - reached)
            below, reached = edge, self.buckets[edge]
        return None


def read_counts(text: str) -> dict[str, Counts]:
    """The counts of every version that was asked.

    Args:
        text: what ``/metrics`` answered.
    """
    found: dict[str, Counts] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            version = sample.labels.get("version", "-")
            if sample.name == "tuneline_answers_total" and sample.labels["role"] in _ROLES:
                results = found.setdefault(version, Counts()).results
                results[sample.labels["result"]] = results.get(sample.labels["result"], 0) + int(sample.value)
            elif sample.name == "tuneline_ttft_seconds_bucket":
                buckets = found.setdefault(version, Counts()).buckets
                edge = float(sample.labels["le"])
                buckets[edge] = buckets.get(edge, 0) + sample.value
    return found
