"""``run.py ui``: the ZenML dashboard and MLflow on this machine, for as long as the command runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from cli.screen import say
from cli.workplace import checked_config, use_stack
from tuneline.errors import TunelineError

HOST = "127.0.0.1"
ZENML_PORT, MLFLOW_PORT = 8237, 5000


def addresses() -> list[str]:
    """Where runs and curves can be looked at, as lines for a summary."""
    return [
        f"Dashboard   http://{HOST}:{ZENML_PORT}   after: python run.py ui",
        f"MLflow      http://{HOST}:{MLFLOW_PORT}   after: python run.py ui",
    ]


def run_ui(path: Path | None, stack: str | None, overrides: list[str]) -> None:
    """Start both servers, say where they are, and end them with this command."""
    checked_config(path, overrides)
    use_stack(stack)
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration

    client, settings = Client(), GlobalConfiguration()
    servers: dict[str, tuple[str, subprocess.Popen[bytes]]] = {}
    try:
        if settings.uses_sql_store:
            _introduce_user(client)
            servers["ZenML dashboard"] = _dashboard(str(settings.local_stores_path), str(settings.config_directory))
        else:
            say(f"ZenML dashboard  {settings.store_configuration.url}   (your ZenML server)")
        tracker = client.active_stack.experiment_tracker
        if tracker is not None and tracker.flavor == "mlflow":
            servers["MLflow"] = _mlflow(tracker.get_tracking_uri())
        for name, (url, process) in servers.items():
            _await(name, url, process)
            say(f"{name}  [bold]{url}[/bold]")
        say("Ctrl-C ends both.")
        while all(process.poll() is None for _, process in servers.values()):
            time.sleep(0.5)
    except KeyboardInterrupt:
        say("")
    finally:
        for _, process in servers.values():
            process.terminate()
        for _, process in servers.values():
            process.wait(timeout=30)


def _dashboard(stores: str, config: str) -> tuple[str, subprocess.Popen[bytes]]:
    # What `zenml login --local` starts, without moving the client over to that server: if this
    # command dies, the user's ZenML is as it was.
    port = _free(ZENML_PORT)
    environment = os.environ | {
        "ZENML_SERVER": "true",
        "ZENML_SERVER_ALLOW_LOCAL_FILE_ACCESS": "true",
        "ZENML_SERVER_AUTH_SCHEME": "NO_AUTH",
        "ZENML_SERVER_DEPLOYMENT_TYPE": "local",
        "ZENML_SERVER_AUTO_ACTIVATE": "True",
        "ZENML_DISABLE_DATABASE_MIGRATION": "True",
        "ZENML_LOCAL_STORES_PATH": stores,
        "ZENML_CONFIG_PATH": f"{config}/zen_server/tuneline",
        "ZENML_LOGGING_VERBOSITY": "ERROR",
    }
    environment.pop("ZENML_ACTIVE_STACK_ID", None)
    return f"http://{HOST}:{port}", _start(
        [
            "uvicorn",
            "zenml.zen_server.zen_server_api:app",
            "--host",
            HOST,
            "--port",
            str(port),
            "--log-level",
            "warning",
        ],
        environment,
    )


def _mlflow(tracking_uri: str) -> tuple[str, subprocess.Popen[bytes]]:
    if tracking_uri.startswith("http"):
        raise TunelineError(f"MLflow runs at {tracking_uri} already: open it there")
    port = _free(MLFLOW_PORT)
    command = ["mlflow", "ui", "--backend-store-uri", tracking_uri, "--host", HOST, "--port", str(port)]
    return f"http://{HOST}:{port}", _start(command, dict(os.environ))


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )


def _await(name: str, url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TunelineError(f"{name} ended with exit code {process.returncode} before it answered at {url}")
        try:
            if httpx.get(url, timeout=2).status_code < 500:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    raise TunelineError(f"{name} did not answer at {url} within 120 s")


def _free(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise TunelineError(f"no free port on {HOST}")


def _introduce_user(client) -> None:  # type: ignore[no-untyped-def]
    # The dashboard asks a user without these for name and e-mail before it shows anything.
    from zenml.models import UserUpdate

    user = client.active_user
    if user.email_opted_in is None:
        client.zen_store.update_user(user.id, UserUpdate(full_name=user.full_name or user.name, email_opted_in=False))
