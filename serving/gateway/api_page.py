"""``/api``: the OpenAPI document for people, with Swagger UI out of BentoML's wheel and nothing from elsewhere.

The usual places, ``/docs`` and ``/openapi.json``, would be taken for those of the engine, so they do not exist.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute

from serving.gateway.api_document import document

# Swagger UI has its pictures inside its style sheet. Requests go to this endpoint and nowhere else.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{endpoint} · API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/api/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/api/swagger-ui-bundle.js"></script>
<script src="/api/page.js"></script>
</body>
</html>
"""
_SCRIPT = 'SwaggerUIBundle({url: "/api/openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null});\n'


def api_page(endpoint: str, routes: Sequence[BaseRoute]) -> APIRouter:
    """The page, its document and its three files.

    Args:
        endpoint: the endpoint's name.
        routes: the other routes that exist.
    """
    router = APIRouter(prefix="/api")
    files = _swagger_ui()

    @router.get("")
    async def page() -> Response:
        return HTMLResponse(_PAGE.format(endpoint=html.escape(endpoint)), headers=_HEADERS)

    @router.get("/openapi.json")
    async def openapi() -> Response:
        return JSONResponse(described, headers=_HEADERS)

    @router.get("/page.js", include_in_schema=False)
    async def script() -> Response:
        return Response(_SCRIPT, media_type="text/javascript", headers=_HEADERS)

    @router.get("/swagger-ui.css", include_in_schema=False)
    async def style() -> Response:
        return FileResponse(files / "swagger-ui.css", headers=_HEADERS)

    @router.get("/swagger-ui-bundle.js", include_in_schema=False)
    async def bundle() -> Response:
        return FileResponse(files / "swagger-ui-bundle.js", headers=_HEADERS)

    described = document(endpoint, [*routes, *router.routes])
    return router


def _swagger_ui() -> Path:
    found = find_spec("bentoml")
    assert found is not None and found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "_internal" / "server" / "static_content"
