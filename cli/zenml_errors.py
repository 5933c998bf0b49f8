"""ZenML's own exceptions about its server, as messages: where it is, what it said, what to do."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator

from tuneline.errors import TunelineError

_STORES = "zenml.zen_stores"


def explained(error: BaseException) -> TunelineError | None:
    """What a failed call of ZenML's server means, None if the error is about something else.

    ZenML wraps what its HTTP client raises now in a RuntimeError, now not at all, so the whole chain is looked at. The
    same HTTP errors from elsewhere (MLflow, a model hub) have no frame of ZenML's store in them.
    """
    if "zenml" not in sys.modules:  # its import takes seconds, and what it did not do it does not explain
        return None
    from requests.exceptions import RequestException
    from zenml.config.global_config import GlobalConfiguration
    from zenml.exceptions import AuthorizationException

    chain = list(_chain(error))
    url = str(GlobalConfiguration().store_configuration.url)
    refused = next((found for found in chain if isinstance(found, AuthorizationException)), None)
    if refused is not None:
        return TunelineError(
            f"the ZenML server at {url} does not let you in: {_first_line(refused)}",
            hint=f"Your login may have ended: `zenml login {url}`. `zenml status` shows who you are.",
        )
    lost = next((found for found in chain if isinstance(found, RequestException)), None)
    if lost is not None and any(_raised_by_store(found) for found in chain):
        return TunelineError(
            f"the ZenML server at {url} cannot be reached: {_first_line(lost)}",
            hint="Is it running, and is the network there? `zenml status` tries it; `zenml login URL` chooses another "
            "one, `zenml logout` goes back to this machine's own.",
        )
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _raised_by_store(error: BaseException) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__", "")).startswith(_STORES) for frame, _ in frames)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
