"""An own ZenML, MLflow and tuneline home for the tests: nothing of the user's is read or written.

The variables have to be set before ZenML is imported anywhere, so they are set when this file is.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.stacks.s3 import s3_server, s3_stack

if TYPE_CHECKING:
    from zenml.client import Client

__all__ = ["s3_server", "s3_stack"]  # fixtures for all tests

_REPO = Path(__file__).resolve().parents[1]
# Short, because a Unix socket's path has at most 107 characters and the engine's lies below it.
_ROOT = Path(tempfile.mkdtemp(prefix="tl-"))
_OTHERS = ("ZENML_", "MLFLOW_", "AWS_", "FSSPEC_", "TUNELINE_")
_KEPT = ("TUNELINE_SERVING_PYTHON",)  # where this machine has the serving environment

for _name in [name for name in os.environ if name.startswith(_OTHERS) and name not in _KEPT]:
    del os.environ[_name]
os.environ |= {
    "ZENML_CONFIG_PATH": str(_ROOT / "zenml"),
    "ZENML_LOCAL_STORES_PATH": str(_ROOT / "zenml" / "local_stores"),
    "ZENML_CUSTOM_SOURCE_ROOT": str(_REPO),
    "ZENML_ANALYTICS_OPT_IN": "false",
    "ZENML_AUTO_OPEN_DASHBOARD": "false",
    "ZENML_ENABLE_RICH_TRACEBACK": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # read when it is imported; the commands set it for their own processes
    "ZENML_DISABLE_INTERACTIVE_INPUT": "true",
    "ZENML_LOGGING_COLORS_DISABLED": "true",
    "TUNELINE_HOME": str(_ROOT / "home"),
    "HF_HOME": str(_ROOT / "hf"),
    "HF_HUB_OFFLINE": "1",
    "MPLCONFIGDIR": str(_ROOT / "mpl"),
}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if a test left an endpoint running, and end that endpoint."""
    from stacks.deployer import process

    left = [workdir for workdir in _ROOT.glob("**/endpoints/*") if process.stop(workdir, grace=0)]
    shutil.rmtree(_ROOT, ignore_errors=True)
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        raise RuntimeError(f"tests left these endpoints running: {', '.join(path.name for path in left)}")


@pytest.fixture
def tuneline_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty ``TUNELINE_HOME`` for one test; endpoints that the test leaves in it are ended."""
    from stacks.deployer import process

    home = Path(tempfile.mkdtemp(dir=_ROOT))
    monkeypatch.setenv("TUNELINE_HOME", str(home))
    yield home
    for workdir in home.glob("endpoints/*"):
        process.stop(workdir, grace=0)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def _prepared_zenml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh ZenML store with its tables made (4 s), once for all workers; tests get copies."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    prepared = shared / "prepared-zenml"
    with (shared / "prepared-zenml.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not prepared.exists():
            making = Path(tempfile.mkdtemp(dir=shared))
            with pytest.MonkeyPatch.context() as patch:
                _enter(making, patch).active_stack_model  # noqa: B018 - makes the store and its defaults
                _leave()
            # It names its database by its whole path; without that, ZenML looks below ZENML_LOCAL_STORES_PATH.
            config = yaml.safe_load((making / "config.yaml").read_text())
            (making / "config.yaml").write_text(yaml.safe_dump({k: v for k, v in config.items() if k != "store"}))
            making.rename(prepared)
    return prepared


@pytest.fixture
def zenml_client(_prepared_zenml: Path, tuneline_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A ZenML client with a store of its own that holds the defaults alone, and an empty ``TUNELINE_HOME``."""
    folder = tuneline_home / "zenml"
    shutil.copytree(_prepared_zenml, folder)
    # Set and unset again, so that what a test chooses does not outlive it.
    monkeypatch.setenv("ZENML_ACTIVE_STACK_ID", "")
    monkeypatch.delenv("ZENML_ACTIVE_STACK_ID")
    yield _enter(folder, monkeypatch)
    _leave()


def _enter(folder: Path, patch: pytest.MonkeyPatch) -> Client:
    """Point this process's ZenML at ``folder``."""
    from zenml.client import Client

    patch.setenv("ZENML_CONFIG_PATH", str(folder))
    patch.setenv("ZENML_LOCAL_STORES_PATH", str(folder / "local_stores"))
    _leave()
    return Client()


def _leave() -> None:
    """Let this process's ZenML forget its store: it keeps its configuration, client and stacks in singletons."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration
    from zenml.stack import stack

    GlobalConfiguration._reset_instance()
    Client._reset_instance()
    stack._STACK_CACHE.clear()
