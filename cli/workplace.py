"""What every command that touches ZenML needs first: a checked config and an active stack."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from tuneline import paths
from tuneline.config import Config, load_config

DEFAULT_CONFIG = paths.CONFIGS / "tiny.yaml"
LOCAL_STACK = "tuneline-local"


def quiet() -> None:
    """Keep libraries' chatter, questions, telemetry and idle threads down. Whoever sets a variable keeps it."""
    os.environ.setdefault("ZENML_LOGGING_VERBOSITY", "CRITICAL")
    os.environ.setdefault("ZENML_ENABLE_RICH_TRACEBACK", "false")
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    os.environ.setdefault("ZENML_AUTO_OPEN_DASHBOARD", "false")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    # Read when torch is loaded. Waiting threads give their core away: with one of two cores busy elsewhere, training
    # ran at 864 tokens/s while they spun, and at 3,579 like this.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else it reports every table of a new database
    # bitsandbytes looks for a faster 4-bit kernel on the hub when it is loaded, and says so when there is none.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # drawn in place, they are noise in a log


def checked_config(path: Path | None, overrides: list[str]) -> Config:
    """Load and check a config; nothing else has happened yet when it is wrong."""
    return load_config(path or DEFAULT_CONFIG, overrides)


def use_stack(name: str | None) -> str:
    """Make a stack active for this process only.

    Args:
        name: the stack; None takes the active one, or ``tuneline-local`` (applied if it is missing) when
            nobody has chosen one, which is what ZenML's ``default`` stack means.

    Returns:
        The stack's name.

    Raises:
        UserError: there is no such stack.
    """
    quiet()
    from zenml.client import Client

    from stacks.apply import activate, apply_stack

    if name is None:
        name = Client().active_stack_model.name
        if name == "default":
            name = LOCAL_STACK
    if name == LOCAL_STACK:
        apply_stack(paths.REPO / "stacks" / "local.yaml")
    activate(name)
    return name
