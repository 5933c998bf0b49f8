"""Which version answers: the applied release as a table that is replaced whole, so no request sees half a switch."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, field, replace

from serving.gateway.errors import ApiError, unavailable
from serving.gateway.outcome import Question, Role
from tuneline.prompts import PromptTemplate
from tuneline.release import AdapterRef, Release


def engine_name(adapter: AdapterRef) -> str:
    """What the engine calls an adapter: its contents, so that equal files are loaded once and others never mixed."""
    return f"lora-{adapter.sha256[:24]}"


@dataclass(frozen=True)
class Target:
    """A version that can answer.

    Attributes:
        version: what ``x-tuneline-version`` says.
        engine_name: the model name sent to the engine.
        prompt: the template put around conversations.
        model_field: finds the engine's name in an answer. Within a JSON string a quote is escaped, so a match is always
            the field itself and never something the model wrote.
    """

    version: str
    engine_name: str
    prompt: PromptTemplate
    model_field: re.Pattern[bytes]

    @classmethod
    def of(cls, adapter: AdapterRef) -> Target:
        """The target of one adapter of a release."""
        name = engine_name(adapter)
        return cls(
            adapter.model_version, name, adapter.prompt, re.compile(rb'"model":\s*"' + re.escape(name.encode()) + rb'"')
        )


def place_of(caller: str, endpoint: str, sha256: str) -> float:
    """Where a caller stands on the scale from 0 to 100 for one challenger, known by its adapter's ``sha256``.

    The challenger gets those below its percent. So a caller keeps its version while the percent stays, a higher percent
    moves callers to the challenger and none back, and the next challenger draws other callers.
    """
    digest = hashlib.blake2b(f"{endpoint}/{sha256}/{caller}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) / 2**32 * 100


@dataclass(frozen=True)
class RouteTable:
    """An applied release: who can be pinned, and who gets the rest.

    Attributes:
        trial: who is proven in an engine of its own; only a pin reaches it.
        applied: when it was made (``time.perf_counter``).
    """

    release: Release
    versions: dict[str, Target]
    production: Target | None
    challenger: Target | None
    trial: Target | None = None
    applied: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, release: Release) -> RouteTable:
        """The table of a release whose adapters are loaded."""
        targets = {name: Target.of(adapter) for name, adapter in release.adapters.items()}
        routes = release.routes
        trial = Target.of(release.trial.adapter) if release.trial is not None else None
        everybody = [*targets.values(), *([trial] if trial is not None else [])]
        return cls(
            release=release,
            versions={target.version: target for target in everybody},
            production=targets[routes.production] if routes.production is not None else None,
            challenger=targets[routes.challenger] if routes.challenger is not None else None,
            trial=trial,
        )

    def pinned(self, version: str) -> Target:
        """The target of one version.

        Raises:
            ApiError: 404, it is not loaded.
        """
        try:
            return self.versions[version]
        except KeyError:
            raise ApiError(
                404, f"Version {version!r} is not loaded; loaded are {sorted(self.versions)}.", code="version_not_found"
            ) from None

    def drawn(self, caller: str) -> bool:
        """Whether a caller is in the challenger's share."""
        routes = self.release.routes
        if self.challenger is None or routes.challenger is None:
            return False
        sha256 = self.release.adapters[routes.challenger].sha256
        return place_of(caller, self.release.endpoint, sha256) < routes.percent

    def route(self, question: Question) -> tuple[Target, Role]:
        """Who answers a question, and as what.

        A caller is the request's ``user``; without one, all that one key asks comes from one caller.

        Raises:
            ApiError: 404, the version it is pinned to is not loaded; 503, there is no production version yet.
        """
        if question.pin is not None:
            return self.pinned(question.pin), "pinned"
        if self.challenger is not None and not self.release.routes.shadow and self.drawn(question.caller):
            return self.challenger, "challenger"
        if self.production is None:
            raise unavailable("No version is in production yet.", "no_production_version")
        return self.production, "production"

    def without_challenger(self) -> RouteTable:
        """The same table with all traffic at the production version; pinned questions reach every version still."""
        return replace(self, challenger=None)

    def traffic(self) -> dict[str, float]:
        """Percent of unpinned traffic per model version."""
        if self.challenger is None and self.production is not None:
            return {self.production.version: 100.0}
        return self.release.traffic()
