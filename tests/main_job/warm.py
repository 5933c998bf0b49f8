"""``run.py`` from a process that has imported ZenML, torch and the rest once: a fork for each command.

A command spends 4 to 12 seconds on imports, and the stories of this folder run about a hundred. What a fork inherits
is modules and nothing else: no thread and no open store, which ``serve`` makes sure of. The main story begins with the
real command.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import threading
from pathlib import Path

# What a command imports while it runs, cli.* before its dependencies as run.py has it.
MODULES = (
    *("cli.app", "cli.main_job", "cli.train", "cli.deploy", "cli.models", "cli.ask", "cli.scoreboard", "cli.ui"),
    *("cli.canary", "cli.report", "cli.promote", "mlflow", "pipelines.training", "pipelines.deployment", "openai"),
    *("controlplane.canary", "controlplane.endpoint", "controlplane.lineage", "stacks.deployer.flavor", "evaluate"),
    *("tuneline.training.train", "tuneline.evaluation.evaluate_model", "datasets", "rouge_score", "sacrebleu"),
)


def serve() -> None:
    """Fork for each line of standard input (argv, stdout and stderr as JSON); answer with pid, then exit code."""
    from cli.workplace import quiet

    quiet()
    for name in MODULES:
        importlib.import_module(name)
    _forget_the_store()
    assert threading.active_count() == 1, threading.enumerate()
    for line in sys.stdin:
        wanted = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(wanted)
            return
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _forget_the_store() -> None:
    """Close what ZenML's decorators have opened, so that each fork opens its own."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration
    from zenml.stack import stack

    opened = GlobalConfiguration.get_instance()
    if opened is not None and opened._zen_store is not None:
        opened._zen_store.engine.dispose()
    GlobalConfiguration._reset_instance()
    Client._reset_instance()
    stack._STACK_CACHE.clear()


def _become(wanted: dict[str, str | list[str]]) -> None:
    """Be the command, down to the end of the interpreter: what was registered with atexit runs too."""
    os.setsid()
    for descriptor, path in ((0, os.devnull), (1, wanted["stdout"]), (2, wanted["stderr"])):
        opened = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    random.seed()
    sys.argv = ["run.py", *wanted["argv"]]
    from cli.app import main

    main()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    serve()
