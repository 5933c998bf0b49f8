"""Bringing an endpoint up: start its serving process unless it runs, and wait until it does what it was started for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stacks.deployer import process
from stacks.deployer.process import Serving
from stacks.deployer.readiness import Readiness, answers, await_release
from tuneline import paths
from tuneline.errors import TunelineError, UserError

# The serving process faces the network, so of the starter's environment it gets what it can use and no more: no
# ZenML or MLflow tokens, and no PYTHONPATH or virtual environment of the pipelines.
_PASSED = {
    "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE", "GOOGLE_APPLICATION_CREDENTIALS", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE",
}  # fmt: skip
_PASSED_PREFIXES = (
    "LC_", "TUNELINE_", "VLLM_", "HF_", "CUDA_", "NVIDIA_", "NCCL_", "ROCR_", "HIP_", "OMP_", "MKL_", "TORCH",
    "TRITON_", "XDG_", "AWS_", "FSSPEC_", "AZURE_", "GOOGLE_CLOUD_", "KUBERNETES_", "OTEL_",
)  # fmt: skip
_STOP_SECONDS = 5.0  # for what did not come up: it has no requests to finish


@dataclass(frozen=True)
class Plan:
    """How an endpoint's serving process is started.

    Attributes:
        endpoint: its name.
        folder: URI of its folder in the artifact store.
        workdir: where its records and logs lie on this machine.
        host: the address it listens on.
        port: 0 picks a free one the first time and keeps it.
        poll_seconds: how often it looks for a new release.
    """

    endpoint: str
    folder: str
    workdir: Path
    host: str = "127.0.0.1"
    port: int = 0
    poll_seconds: float = 0.2


def serving_environment(names: Iterable[str], storage: Mapping[str, str]) -> dict[str, str]:
    """The serving process's environment.

    Args:
        names: variables to pass on beyond the usual ones.
        storage: credentials and address of the artifact store.
    """
    wanted = _PASSED | set(names)
    passed = {key: value for key, value in os.environ.items() if key in wanted or key.startswith(_PASSED_PREFIXES)}
    return passed | dict(storage)


def bring_up(
    plan: Plan, environment: Mapping[str, str], *, timeout: float, sequence: int | None = None
) -> tuple[Serving, bool]:
    """Start the endpoint unless it runs. The caller holds ``process.exclusive``.

    What this call starts, it ends again when anything goes wrong, an interruption included.

    Args:
        plan: what to start.
        environment: its whole environment.
        timeout: seconds until it has to be there.
        sequence: if this call starts it, also wait until it has applied this release.

    Returns:
        The process, and whether this call started it.

    Raises:
        UserError: the port is taken, the serving environment is missing, or the endpoint runs for another folder.
        TunelineError: it did not come up; the message has the last lines of its logs.
    """
    deadline = time.monotonic() + timeout
    if running := process.find(plan.workdir):
        if running.folder != plan.folder:
            raise UserError(
                f"the endpoint {plan.endpoint!r} is running for another folder: {running.folder}\n"
                f"the active stack's is {plan.folder}",
                hint="Stop it first (`python run.py stop`), or deploy under another endpoint name.",
            )
        if live := _until_live(plan, {}, deadline, timeout):
            return live, False
    process.stop(plan.workdir, grace=0)  # what a killed predecessor may have left
    command = _command(plan)
    logs = process.log_sizes(plan.workdir)
    try:
        try:
            child = process.launch(
                command, workdir=plan.workdir, folder=plan.folder, cwd=paths.REPO, environment=environment
            )
        except OSError as error:
            raise UserError(
                f"the serving environment is broken: {command[0]} cannot be run: {error.strerror or error}",
                hint="Run `make setup`, which mends it.",
            ) from error
        serving = _until_live(plan, logs, deadline, timeout)
        if serving is None:
            code = child.wait()
            failure = _failure(
                plan, f"the endpoint {plan.endpoint!r} did not start: it ended with exit code {code}", logs
            )
            raise UserError(failure.what, hint=failure.hint) if code == UserError.exit_code else failure
        if sequence is not None:
            wait_for_release(plan, sequence, deadline - time.monotonic(), logs=logs)
    except BaseException:
        process.stop(plan.workdir, grace=_STOP_SECONDS)
        raise
    process.remember_port(plan.workdir, urlsplit(serving.url or "").port or 0)
    return serving, True


def wait_for_release(plan: Plan, sequence: int, timeout: float, *, logs: Mapping[str, int] | None = None) -> Readiness:
    """Wait until the running endpoint has applied release ``sequence`` or a later one.

    Raises:
        TunelineError: it cannot apply it, it ended, or ``timeout`` seconds have passed; with the logs' last lines.
    """

    def address() -> str | None:
        serving = process.find(plan.workdir)
        return serving.url if serving else None

    try:
        return await_release(plan.endpoint, address, sequence, timeout)
    except TunelineError as error:
        raise _failure(plan, error.what, logs) from error


def _command(plan: Plan) -> list[str]:
    python = paths.serving_python()
    if not python.exists():
        raise UserError(
            f"the serving environment is missing: there is no {python}",
            hint="Run `make setup`, which makes it.",
        )
    port = plan.port
    if port:
        process.check_port(plan.host, port)
    elif kept := process.last_port(plan.workdir):
        try:
            process.check_port(plan.host, kept)
            port = kept
        except UserError:
            port = 0  # nobody asked for the old one: a free one does as well
    return [
        str(python), "-m", "serving", "--endpoint", plan.endpoint, "--folder", plan.folder, "--host", plan.host,
        "--port", str(port), "--workdir", str(plan.workdir), "--poll-seconds", str(plan.poll_seconds),
    ]  # fmt: skip


def _until_live(plan: Plan, logs: Mapping[str, int], deadline: float, timeout: float) -> Serving | None:
    """The process once it answers; None if it ended."""
    while serving := process.find(plan.workdir):
        if serving.url and answers(serving.url):
            return serving
        if time.monotonic() > deadline:
            raise _failure(plan, f"the endpoint {plan.endpoint!r} did not answer within {timeout:.0f} s", logs)
        time.sleep(0.05)
    return None


def _failure(plan: Plan, what: str, logs: Mapping[str, int] | None) -> TunelineError:
    tail = process.log_tail(plan.workdir, since=logs)
    return TunelineError(f"{what}\n{tail}".rstrip(), hint=f"The whole logs are in {plan.workdir}.")
