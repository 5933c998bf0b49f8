"""Sections ``serving`` and ``monitoring``: the engine behind the endpoint, and what watches it."""

from __future__ import annotations

from pydantic import Field

from tuneline.config.section import Section
from tuneline.release.document import CanaryBounds, EngineArguments
from tuneline.release.gateway import GatewayArguments


class ServingConfig(EngineArguments):
    """How the engine is started (the fields of ``EngineArguments``), and what it must prove before it gets traffic."""

    parity_tolerance: float = Field(
        default=0.25,
        gt=0,
        description="Largest allowed difference between a golden prompt's served log-probabilities and those kept at "
        "evaluation, nats per token. Rounding in bfloat16 makes up to 0.05, another version of an adapter 2 and more.",
    )
    start_timeout: float = Field(
        default=300.0,
        gt=0,
        description="How long the endpoint may take from its start, or from a new release, until it is ready, seconds.",
    )

    gateway: GatewayArguments = Field(
        default=GatewayArguments(), description="What the gateway admits, keeps and records. Changed without a restart."
    )
    canary: CanaryBounds = Field(
        default=CanaryBounds(), description="How much worse a challenger may be before the gateway ends its canary."
    )

    def engine(self) -> EngineArguments:
        """The part that goes into a release."""
        return EngineArguments(**self.model_dump(include=set(EngineArguments.model_fields)))


class MonitoringConfig(Section):
    """What watches the endpoint. It has no settings."""
