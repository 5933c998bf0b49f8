"""What an endpoint says of itself: is it up, which release has it applied, what stops it from applying the next."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from tuneline.errors import TunelineError

STUCK_SECONDS = 5.0  # the gateway tries again after 1 s and after 3 s, which is enough for a storage's hiccup
_RELEASE = re.compile(r"release (\d+)")


@dataclass(frozen=True)
class Readiness:
    """An answer of ``/readyz``, which needs no key.

    Attributes:
        ready: whether requests are answered.
        state: in words: starting, no release, no production version, ready, engine restarting ...
        release: sequence number of the applied release; None before the first.
        error: why a release could not be applied, or the folder not be read.
    """

    ready: bool
    state: str
    release: int | None
    error: str | None

    def is_stuck_before(self, sequence: int) -> bool:
        """Whether the error keeps release ``sequence`` from being applied.

        Not if it is an older release's, which stays in the answer until the newer one was tried, and not while the
        engine is being brought back, after which the release is tried again.
        """
        if self.error is None or self.state.startswith("engine"):
            return False
        named = _RELEASE.match(self.error)
        return named is None or int(named[1]) >= sequence


def ask(url: str, timeout: float = 5.0) -> Readiness | None:
    """Ask ``url``/readyz; None when nobody gives an answer that makes sense within ``timeout`` seconds."""
    try:
        return read(_get(url, "/readyz", timeout)[1])
    except (OSError, HTTPException):
        return None


def read(body: bytes) -> Readiness | None:
    """What an answer of ``/readyz`` says; None when it is somebody else's."""
    try:
        detail = json.loads(body)
    except ValueError:
        return None
    if not isinstance(detail, dict) or "ready" not in detail:
        return None
    return Readiness(
        ready=bool(detail["ready"]),
        state=str(detail.get("state", "")),
        release=detail.get("release"),
        error=detail.get("error"),
    )


def answers(url: str, timeout: float = 5.0) -> bool:
    """Whether the HTTP server at ``url`` answers at all."""
    try:
        return _get(url, "/livez", timeout)[0] == HTTPStatus.OK
    except (OSError, HTTPException):
        return False


def await_release(endpoint: str, address: Callable[[], str | None], sequence: int, timeout: float) -> Readiness:
    """Wait until an endpoint has applied release ``sequence`` or a later one.

    Args:
        endpoint: its name, for messages.
        address: where it answers now; None when it has ended.
        sequence: the awaited release.
        timeout: seconds.

    Raises:
        TunelineError: it ended, keeps saying that it cannot apply the release, or the time is over.
    """
    deadline = time.monotonic() + timeout
    seen: Readiness | None = None
    stuck_since: float | None = None
    while True:
        url = address()
        if url is None:
            raise TunelineError(f"the endpoint {endpoint!r} ended while release {sequence} was awaited")
        seen = ask(url) or seen
        if seen and seen.release is not None and seen.release >= sequence:
            return seen
        stuck_since = (stuck_since or time.monotonic()) if seen and seen.is_stuck_before(sequence) else None
        if seen and stuck_since and time.monotonic() - stuck_since > STUCK_SECONDS:
            raise TunelineError(f"the endpoint {endpoint!r} cannot apply release {sequence}: {seen.error}")
        if time.monotonic() > deadline:
            state = f"it says: {seen.state}, release {seen.release}" if seen else f"nobody answers at {url}"
            raise TunelineError(
                f"the endpoint {endpoint!r} has not applied release {sequence} in {timeout:.0f} s; {state}"
            )
        time.sleep(0.05)


def _get(url: str, path: str, timeout: float) -> tuple[int, bytes]:
    # By http.client: it knows no proxies, none of which may get between this machine and itself, and does not log
    # each of the many requests while an endpoint is waited for, as httpx does.
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
