"""Endpoints that somebody else starts and stops: releases are only waited for."""

from __future__ import annotations

from collections.abc import Iterator

from stacks.deployer.readiness import answers, await_release
from stacks.deployer.targets.target import EndpointInfo
from tuneline.errors import TunelineError, UserError


class Elsewhere:
    """Knows addresses, and nothing else.

    Args:
        url: where endpoints answer; ``{endpoint}`` in it stands for the name.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def address(self, endpoint: str) -> str:
        """Where an endpoint answers."""
        return self._url.replace("{endpoint}", endpoint).rstrip("/")

    def check(self, folder: str) -> None:
        """Nothing is started here, so nothing can be missing."""

    def bring_up(self, endpoint: str, folder: str, sequence: int | None, timeout: float) -> EndpointInfo:
        """See that it answers, and wait until it has applied a release."""
        del folder
        url = self.address(endpoint)
        if sequence is not None:
            await_release(endpoint, lambda: url, sequence, timeout)
        elif not answers(url):
            raise TunelineError(f"nobody answers at {url}", hint=f"Start the endpoint {endpoint!r} where it runs.")
        return EndpointInfo(url=url, pid=None, started=False)

    def find(self, endpoint: str) -> EndpointInfo | None:
        """The endpoint if it answers."""
        url = self.address(endpoint)
        return EndpointInfo(url=url, pid=None, started=False) if answers(url) else None

    def stop(self, endpoint: str) -> bool:
        """It cannot be stopped from here."""
        raise self._refusal()

    def logs(self, endpoint: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Its logs are where it runs."""
        raise self._refusal()

    def _refusal(self) -> UserError:
        return UserError(
            f"the model deployer does not run its endpoints itself, they answer at {self._url}",
            hint="Start, stop and watch them where they run, or let tuneline do it: target: kubernetes in the "
            "stack file.",
        )
