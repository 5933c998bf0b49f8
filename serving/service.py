"""The Bento: our gateway as a BentoML service.

BentoML packages it, gives it its environment and runs its life cycle. Its own pages (``/``, ``/docs.json``,
``/schema.json``, ``/healthz`` …) must not be reachable, and its ``/readyz`` says 200 as long as the process lives; so
every request goes to the gateway before BentoML's router sees it, and only the life cycle goes through BentoML.

``python -m serving`` starts it with supervision; ``bentoml serve serving.service:TunelineEndpoint`` works too, given
the variables of ``serving.settings``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import bentoml
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.endpoint import Endpoint
from serving.gateway.app import create_app
from serving.settings import Settings

# The longest an answer may be silent under `bentoml serve`, whose own default is a minute. See `application`.
_SILENT_SECONDS = 3600


class Gateway:
    """The gateway, made when the Bento is started and not when it is packed: only then are there settings."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self.endpoint: Endpoint | None = None

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """The life of the endpoint; BentoML enters it because the application below is mounted."""
        self.endpoint = Endpoint(Settings.from_environment())
        app = create_app(self.endpoint)
        async with app.router.lifespan_context(app):
            self._app = app
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert self._app is not None, "a request before the start"
        await self._app(scope, receive, send)


class GatewayOnly:
    """ASGI middleware that answers every request with the gateway and lets only the life cycle through to BentoML."""

    def __init__(self, app: ASGIApp, gateway: ASGIApp) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch one connection."""
        await (self._app if scope["type"] == "lifespan" else self._gateway)(scope, receive, send)


gateway = Gateway()


@bentoml.asgi_app(Starlette(lifespan=gateway.lifespan), path="/")
@bentoml.service(
    name="tuneline-endpoint",
    workers=1,  # one gateway owns one engine; throughput comes from the engine
    traffic={"timeout": _SILENT_SECONDS},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class _Service:
    """Nothing of its own: the mounted application is the service."""


TunelineEndpoint: Any = _Service  # the decorators made a service of the class, which their types do not say
TunelineEndpoint.add_asgi_middleware(GatewayOnly, gateway=gateway)


def application() -> ASGIApp:
    """The Bento as an ASGI application whose requests do not go through BentoML at all.

    BentoML's timeout keeps a timer of every request until its time is over, and the whole request when the client left
    before an answer began (``TimeoutMiddleware`` in BentoML 1.4.39 waits for the first byte alone): memory that grows
    with the traffic, and 40 such clients held the end of the process up until it was killed.
    """
    return GatewayOnly(TunelineEndpoint.to_asgi(), gateway)
