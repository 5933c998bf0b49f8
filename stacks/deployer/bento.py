"""The Bento: the endpoint's code, its pinned requirements and a Dockerfile, in one folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import yaml

from tuneline import paths
from tuneline.errors import TunelineError

BENTOFILE = Path("serving") / "bentofile.yaml"
NAME = "tuneline-endpoint"


def tag() -> str:
    """The Bento's name and version. The version is made of what is packed, so the same code is the same Bento."""
    packing = yaml.safe_load((paths.REPO / BENTOFILE).read_text())
    requirements = packing["python"]["requirements_txt"]
    files = {file for pattern in packing["include"] for file in paths.REPO.glob(pattern.replace("**", "**/*"))}
    files = {file for file in files if file.is_file() and "__pycache__" not in file.parts}
    digest = hashlib.sha256()
    for file in sorted(files | {paths.REPO / requirements}):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(paths.REPO).as_posix()} {len(content)}\n".encode() + content)
    return f"{NAME}:{digest.hexdigest()[:16]}"


def build(store: Path | None = None) -> tuple[str, Path]:
    """Build the Bento unless it is there, without network and in 2 s. It needs the pipelines' environment alone.

    Args:
        store: the Bento store; None takes BentoML's own (``BENTOML_HOME``, or ``~/bentoml``).

    Returns:
        Its tag and its folder; the Dockerfile is ``env/docker/Dockerfile`` in there.

    Raises:
        TunelineError: BentoML could not build it.
    """
    wanted = tag()
    home = store or Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    folder = home / "bentos" / wanted.replace(":", "/")
    if (folder / "bento.yaml").exists():
        return wanted, folder
    env = os.environ | {"BENTOML_DO_NOT_TRACK": "True"} | ({"BENTOML_HOME": str(store)} if store else {})
    version = wanted.partition(":")[2]
    command = [sys.executable, "-m", "bentoml", "build", "-f", str(BENTOFILE), "--version", version, "."]
    # A process of its own: BentoML imports the service, which belongs into no process that does something else.
    built = subprocess.run(command, cwd=paths.REPO, env=env, capture_output=True, text=True, check=False)
    if built.returncode:
        raise TunelineError(
            f"BentoML could not build the Bento:\n{(built.stderr or built.stdout).strip()}",
            hint=f"The same by hand: bentoml build -f {BENTOFILE}",
        )
    return wanted, folder
