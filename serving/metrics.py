"""Every metric the gateway exports. Names are written here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from serving.gateway.outcome import Outcome, Question

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_ENGINE_LINE = re.compile(r"^(# (HELP|TYPE) )?vllm:")


class Metrics:
    """The metrics of one endpoint, in a registry of their own."""

    def __init__(self, endpoint: str) -> None:
        self.registry = CollectorRegistry()
        self.endpoint = endpoint
        self.requests = Counter(
            "tuneline_requests", "Requests answered", ["endpoint", "version", "path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "tuneline_request_seconds",
            "From the request's last byte to the answer's last byte, seconds",
            ["endpoint", "version", "path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.ttft = Histogram(
            "tuneline_ttft_seconds",
            "From the request's last byte to the answer's first byte, streamed answers only, seconds",
            ["endpoint", "version", "path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.answers = Counter(
            "tuneline_answers",
            "Questions that reached a version: role is production, challenger, pinned or shadow; "
            "result is ok, empty, overlong, refused, failed or left",
            ["endpoint", "version", "role", "result"],
            registry=self.registry,
        )
        self.tokens = Counter(
            "tuneline_tokens", "Tokens of answered questions", ["endpoint", "version", "kind"], registry=self.registry
        )
        self.refused = Counter(
            "tuneline_refused",
            "Questions not let in: requests_per_minute, tokens_per_minute, queue_full, queue_deadline",
            ["endpoint", "reason"],
            registry=self.registry,
        )
        self.waiting = self._gauge("tuneline_waiting_requests", "Questions that wait for a place in the engine")
        self.running = self._gauge(
            "tuneline_running_requests",
            "Places taken in the engine, one for every answer under way",
        )
        self.cache = Counter(
            "tuneline_cache_lookups",
            "Lookups of the response cache; result is hit or miss",
            ["endpoint", "version", "result"],
            registry=self.registry,
        )
        self.cache_bytes = self._gauge("tuneline_cache_bytes", "Memory held by the response cache, bytes")
        self.aborts = Counter(
            "tuneline_canary_aborts", "Canaries ended by this gateway", ["endpoint", "reason"], registry=self.registry
        )
        self.shadows_dropped = Counter(
            "tuneline_shadows_dropped",
            "Questions that the challenger was not asked in the shadow, because there was no room for it",
            ["endpoint"],
            registry=self.registry,
        )
        self.feedback = Counter(
            "tuneline_feedback", "Ratings received", ["endpoint", "version", "rating"], registry=self.registry
        )
        self.feedback_waiting = self._gauge("tuneline_feedback_waiting", "Ratings that are not stored yet")
        self.engine_replacing = self._gauge(
            "tuneline_engine_replacing", "1 while another engine is being started for a new release"
        )
        self.engine_start_seconds = self._gauge(
            "tuneline_engine_start_seconds", "From the last start of the engine to its first token, seconds"
        )
        self.engine_hangs = Counter(
            "tuneline_engine_hangs",
            "Engines ended because they no longer answered",
            ["endpoint"],
            registry=self.registry,
        )
        self.release_sequence = self._gauge(
            "tuneline_release_sequence", "Sequence number of the applied release, 0 before the first"
        )
        self.release_error = self._gauge("tuneline_release_error", "1 while the newest release could not be applied")
        self.engine_up = self._gauge("tuneline_engine_up", "1 while the engine answers")
        self.engine_starts = Counter(
            "tuneline_engine_starts", "Engine processes started", ["endpoint"], registry=self.registry
        )
        self.traffic = Gauge(
            "tuneline_traffic_percent",
            "Share of the unpinned traffic that a version gets",
            ["endpoint", "version"],
            registry=self.registry,
        )

    def set_traffic(self, shares: dict[str, float]) -> None:
        """Replace the shares of traffic; a version without one disappears."""
        self.traffic.clear()
        for version, percent in shares.items():
            self.traffic.labels(self.endpoint, version).set(percent)

    def count(self, question: Question, outcome: Outcome) -> None:
        """Count one answer; an ``Observer``."""
        del question
        self.answers.labels(self.endpoint, outcome.version, outcome.role, outcome.result).inc()
        for kind, number in (("prompt", outcome.prompt_tokens), ("completion", outcome.completion_tokens)):
            if number:
                self.tokens.labels(self.endpoint, outcome.version, kind).inc(number)

    def render(self, engine: str) -> str:
        """The exposition text, with the ``vllm:`` metrics out of the engine's own text appended."""
        own = generate_latest(self.registry).decode()
        return own + "".join(f"{line}\n" for line in engine.splitlines() if _ENGINE_LINE.match(line))

    def _gauge(self, name: str, help_text: str) -> GaugeOfEndpoint:
        return GaugeOfEndpoint(Gauge(name, help_text, ["endpoint"], registry=self.registry), self.endpoint)


class GaugeOfEndpoint:
    """A gauge whose only label is the endpoint."""

    def __init__(self, gauge: Gauge, endpoint: str) -> None:
        self._child = gauge.labels(endpoint)

    def set(self, value: float) -> None:
        """Set the value."""
        self._child.set(value)

    def follow(self, value: Callable[[], float]) -> None:
        """Read the value when it is asked for."""
        self._child.set_function(value)
