"""What every target can do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from fsspec.core import split_protocol

from tuneline.errors import UserError


@dataclass(frozen=True)
class EndpointInfo:
    """An endpoint that is live.

    Attributes:
        url: where it answers, without ``/v1``.
        pid: its process on this machine; None if it runs elsewhere.
        started: whether the call that returned this started it.
    """

    url: str
    pid: int | None
    started: bool


class Target(Protocol):
    """A place where endpoints run."""

    def check(self, folder: str) -> None:
        """Say before anything is written what would stop ``bring_up``.

        Args:
            folder: URI of the endpoint's folder in the artifact store.

        Raises:
            UserError: it cannot work.
        """

    def bring_up(self, endpoint: str, folder: str, sequence: int | None, timeout: float) -> EndpointInfo:
        """Make sure that an endpoint runs as the settings say; start it if it does not.

        Args:
            endpoint: its name.
            folder: URI of its folder in the artifact store.
            sequence: also wait until it has applied this release or a later one, all replicas of it.
            timeout: seconds for all of it.

        Raises:
            UserError: what ``check`` raises.
            TunelineError: it did not come up, or cannot apply the release.
        """

    def find(self, endpoint: str) -> EndpointInfo | None:
        """The endpoint if it is live."""

    def stop(self, endpoint: str) -> bool:
        """Stop it. Its releases stay, and ``bring_up`` starts it where it was.

        Returns:
            Whether it was running.

        Raises:
            UserError: it is not run by this target.
        """

    def logs(self, endpoint: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Lines of its logs, each with its origin in front.

        Raises:
            UserError: it is not run by this target.
        """


def check_remote(folder: str, target: str) -> None:
    """Refuse a folder that only this machine can read."""
    if (split_protocol(folder)[0] or "file") in ("file", "local"):
        raise UserError(
            f"the model deployer's target is {target!r}, whose endpoints cannot read {folder}: that is on this machine",
            hint="Use a stack with a remote artifact store (`s3`, `gcp` or `azure`, see stacks/kubernetes.yaml), "
            "or target: local.",
        )
