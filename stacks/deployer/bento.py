"""The Bento: the endpoint's code, its pinned requirements and a Dockerfile, in one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tuneline import paths
from tuneline.errors import TunelineError

BENTOFILE = Path("serving") / "bentofile.yaml"
_TAG = "__tag__:"


def build(store: Path | None = None) -> tuple[str, Path]:
    """Build the Bento, without network and in 2 s. It needs the pipelines' environment alone.

    Args:
        store: the Bento store; None takes BentoML's own (``BENTOML_HOME``, or ``~/bentoml``).

    Returns:
        Its tag and its folder; the Dockerfile is ``env/docker/Dockerfile`` in there.

    Raises:
        TunelineError: BentoML could not build it.
    """
    env = os.environ | {"BENTOML_DO_NOT_TRACK": "True"} | ({"BENTOML_HOME": str(store)} if store else {})
    command = [sys.executable, "-m", "bentoml", "build", "-f", str(BENTOFILE), "-o", "tag", "."]
    # A process of its own: BentoML imports the service, which belongs into no process that does something else.
    built = subprocess.run(command, cwd=paths.REPO, env=env, capture_output=True, text=True, check=False)
    tag = next((line.removeprefix(_TAG) for line in built.stdout.splitlines() if line.startswith(_TAG)), None)
    if built.returncode or tag is None:
        raise TunelineError(
            f"BentoML could not build the Bento:\n{(built.stderr or built.stdout).strip()}",
            hint=f"The same by hand: bentoml build -f {BENTOFILE}",
        )
    home = store or Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    return tag, home / "bentos" / tag.replace(":", "/")
